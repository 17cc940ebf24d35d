// What the other scripts share. The page joins all scripts of this folder in one function, in the order of html_page.py.
const IS_PHONE = matchMedia("(max-width: 640px)").matches;
const SHOWN_FIRST = IS_PHONE ? 3 : 6;
const SHOWN_MORE = 24;
const LAYERS = { photo: "Photo", cam: "CAM", mask: "Mask", truth: "Truth", confidence: "Confidence", errors: "Errors" };
const IGNORED = 255;
const names = JSON.parse(document.body.dataset.names);
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)}%`;
const nameOf = (id) => names[id] ?? `class ${id}`;
