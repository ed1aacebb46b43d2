// Questions to the person before the page, as the browser's own dialogs: they hold the focus and end with Escape. What has
// happened is told in notes that go by themselves.
import { element } from './elements.js';

const NOTE_MS = 7000;
let labels = 0;

/**
 * Resolves with the values of `fields` by name, or null when the person thought better of it. A field is
 * `{ name, label, ...attributes of an input }`, or `{ name, label, options: [[value, text, hint]] }`.
 */
export function askForm({ title, text = '', content = [], fields = [], confirm, isGrave = false, mayCancel = true }) {
  const { promise, resolve } = Promise.withResolvers();
  const titleId = `dialog-${++labels}`;
  const form = element('form', { method: 'dialog' });
  const dialog = element('dialog', { 'aria-labelledby': titleId }, form);
  form.append(
    element('h2', { id: titleId }, title),
    ...(text === '' ? [] : [element('p', {}, text)]),
    ...content,
    ...fields.map(fieldOf),
    element(
      'div',
      { class: 'buttons' },
      mayCancel
        ? element('button', { type: 'button', onclick: () => dialog.close() }, confirm ? 'Cancel' : 'Close')
        : null,
      confirm ? element('button', { type: 'submit', class: isGrave ? 'grave' : 'main' }, confirm) : null,
    ),
  );
  let answer = null;
  form.addEventListener('submit', () => {
    answer = Object.fromEntries(new FormData(form));
  });
  dialog.addEventListener('cancel', (event) => mayCancel || event.preventDefault());
  dialog.addEventListener('close', () => {
    dialog.remove();
    resolve(answer);
  });
  document.body.append(dialog);
  dialog.showModal();
  return promise;
}

function fieldOf({ label, options, ...attributes }) {
  if (options === undefined) return element('label', { class: 'field' }, label, element('input', attributes));
  const choices = options.map(([value, text, hint], index) =>
    element(
      'label',
      { class: 'choice' },
      element('input', { type: 'radio', name: attributes.name, value, checked: index === 0 }),
      element('span', {}, text, hint ? element('small', {}, hint) : null),
    ),
  );
  return element('fieldset', {}, element('legend', {}, label), ...choices);
}

/** `kind` is done or failed. */
export function tell(text, kind = 'done') {
  const note = element('p', { class: `note ${kind}` }, text);
  document.getElementById('notes').append(note);
  setTimeout(() => note.remove(), NOTE_MS);
}

export async function askToken(wasWrong) {
  const answer = await askForm({
    title: 'A token is needed',
    text: wasWrong
      ? 'That was not the right one.'
      : 'The configuration names it under admin.token or admin.token_file.',
    fields: [{ name: 'token', label: 'Token', type: 'password', required: true, autocomplete: 'current-password' }],
    confirm: 'Open',
    mayCancel: false,
  });
  return answer?.token.trim() ?? '';
}
