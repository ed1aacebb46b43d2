// Elements, without a library: made once, then only what has changed is touched, so that focus and selections stay.

const SVG = 'http://www.w3.org/2000/svg';

/** `element('td', { class: 'number' }, 'text', child)`; attributes that begin with "on" are listeners. */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function drawing(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, '');
    else if (value !== false && value !== undefined && value !== null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setShown(node, isShown) {
  if (node.hidden === isShown) node.hidden = !isShown;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * Keeps one part for each item under `parent`, in the items' order: `make` gives a new one as `{ node, update }`. Parts
 * that stay are neither made anew nor moved without need.
 */
export class Parts {
  #byKey = new Map();

  constructor(parent, make) {
    this.parent = parent;
    this.make = make;
  }

  show(items, keyOf) {
    const keys = new Set(items.map(keyOf));
    for (const [key, part] of this.#byKey) {
      if (keys.has(key)) continue;
      part.node.remove();
      this.#byKey.delete(key);
    }
    let before = this.parent.firstChild;
    for (const item of items) {
      const part = this.#part(keyOf(item), item);
      if (part.node === before) before = before.nextSibling;
      else this.parent.insertBefore(part.node, before);
      part.update(item);
    }
  }

  #part(key, item) {
    const found = this.#byKey.get(key);
    if (found !== undefined) return found;
    const made = this.make(item);
    this.#byKey.set(key, made);
    return made;
  }
}
