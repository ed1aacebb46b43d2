// Light, dark, or as the system has it; remembered for the next visit.

const KEY = 'tidegate-theme';
const CHOICES = ['system', 'light', 'dark'];
const NAMES = { system: 'as the system', light: 'light', dark: 'dark' };
const SIGNS = { system: '◐', light: '○', dark: '●' };

/** `onChange` is called when colours have become others. */
export function startTheme(button, onChange) {
  let choice = CHOICES.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : 'system';
  const apply = () => {
    document.documentElement.dataset.theme = choice;
    button.textContent = SIGNS[choice];
    button.title = `Theme: ${NAMES[choice]}`;
    button.setAttribute('aria-label', button.title);
    onChange();
  };
  button.addEventListener('click', () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    localStorage.setItem(KEY, choice);
    apply();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', onChange);
  apply();
}

/** A colour of style.css as a canvas takes it. */
export function colourOf(name) {
  const probe = document.createElement('span');
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
