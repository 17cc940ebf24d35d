// Drawing maps of class ids: fills, patterns and outlines.

/** Return whether a pattern leaves the pixel (x, y) of a canvas lighter. */
function isLight(pattern, x, y) {
  if (pattern === "stripes") return (x + y) % 12 < 5;
  if (pattern === "dots") return (x % 10) < 4 && (y % 10) < 4;
  if (pattern === "grid") return x % 10 < 2 || y % 10 < 2;
  return false;
}

/** Draw a map `scale` times as large; `paint(id, x, y)` returns [red, green, blue, opacity], or null for nothing. */
function painted(map, scale, paint) {
  const canvas = make("canvas");
  const [width, height] = [map.width * scale, map.height * scale];
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let y = 0, at = 0; y < height; y++) {
    const row = Math.floor(y / scale) * map.width;
    for (let x = 0; x < width; x++, at += 4) {
      const colour = paint(row + Math.floor(x / scale), x, y);
      if (colour) image.data.set(colour, at);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const opaque = (colour) => [...colour, 255];
const DARK = [15, 15, 15, 230], BLACK = opaque([15, 15, 15]), WHITE = opaque([255, 255, 255]);
const IGNORED_COLOURS = [opaque([120, 120, 120]), opaque([190, 190, 190])];

function paintFill(map, styles) {
  const plain = {}, darker = {};
  for (const [id, { colour }] of Object.entries(styles)) {
    plain[id] = opaque(colour);
    darker[id] = opaque(colour.map((value) => value * 0.45));
  }
  return (at, x, y) => {
    const id = map.ids[at];
    if (id === 0) return null;
    if (id === IGNORED) return IGNORED_COLOURS[Number((x + y) % 8 < 4)];
    return isLight(styles[id].pattern, x, y) ? darker[id] : plain[id];
  };
}

/** Return which pixels of a map have another id at most `far` pixels away, in their row or column. */
function nearEdges({ width, height, ids }, far) {
  const near = new Uint8Array(ids.length);
  const compare = (one, other) => { if (ids[one] !== ids[other]) near[one] = near[other] = 1; };
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      for (let by = 1; by <= far; by++) {
        if (x + by < width) compare(at, at + by);
        if (y + by < height) compare(at, at + by * width);
      }
    }
  }
  return near;
}

/** Paint the edges of each region in the colour of its class, between dark lines; or dashed, in black and white. */
function paintOutlines(map, styles, scale, dashed = false) {
  const { width, height, ids } = map;
  const wide = 1 + Math.max(2, Math.round(scale * 0.9));
  const near = nearEdges(map, Math.ceil(wide / scale));
  const colours = Object.fromEntries(Object.entries(styles).map(([id, { colour }]) => [id, opaque(colour)]));
  const [right, bottom] = [width * scale - 1, height * scale - 1];
  const idAt = (x, y) => ids[Math.floor(y / scale) * width + Math.floor(x / scale)];
  const differs = (x, y, id, far) =>
    (x >= far && idAt(x - far, y) !== id) || (x + far <= right && idAt(x + far, y) !== id) ||
    (y >= far && idAt(x, y - far) !== id) || (y + far <= bottom && idAt(x, y + far) !== id);
  return (at, x, y) => {
    const id = ids[at];
    if (!near[at] || id === IGNORED) return null;
    if (differs(x, y, id, 1)) return DARK;
    for (let far = 2; id !== 0 && far <= wide; far++) {
      if (!differs(x, y, id, far)) continue;
      if (dashed) return (x + y) % 14 < 8 ? WHITE : BLACK;
      return colours[id];
    }
    return null;
  };
}
