// Maps of class ids, read from the PNG files in the page.

/** Read the places in the palette from a PNG file. A canvas is not used, because browsers that protect canvases from
 *  being read change its values. */
async function decodePng(uri) {
  const text = atob(uri.slice(uri.indexOf(",") + 1));
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const parts = [];
  let width = 0, height = 0, bits = 0;
  for (let at = 8, length; at < bytes.length; at += 12 + length) {
    length = view.getUint32(at);
    const kind = text.slice(at + 4, at + 8);
    if (kind === "IHDR") [width, height, bits] = [view.getUint32(at + 8), view.getUint32(at + 12), bytes[at + 16]];
    if (kind === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + length));
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(await new Response(stream).arrayBuffer());
  const stride = 1 + Math.ceil((width * bits) / 8), most = (1 << bits) - 1;
  const places = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    undoFilter(rows, y * stride, stride);
    for (let x = 0; x < width; x++) {
      const bit = x * bits;
      places[y * width + x] = (rows[y * stride + 1 + (bit >> 3)] >> (8 - bits - (bit & 7))) & most;
    }
  }
  return { width, height, places };
}

/** Undo the filter of a row: PNG stores the differences to the byte on the left, above, or both. */
function undoFilter(rows, from, stride) {
  const filter = rows[from];
  for (let at = from + 1; filter && at < from + stride; at++) {
    const isFirst = at === from + 1, above = from ? rows[at - stride] : 0;
    const left = isFirst ? 0 : rows[at - 1], corner = isFirst || !from ? 0 : rows[at - stride - 1];
    rows[at] += [0, left, above, (left + above) >> 1, paeth(left, above, corner)][filter];
  }
}

function paeth(left, above, corner) {
  const [byLeft, byAbove, byCorner] = [left, above, corner].map((each) => Math.abs(left + above - corner - each));
  if (byLeft <= byAbove && byLeft <= byCorner) return left;
  return byAbove <= byCorner ? above : corner;
}

async function readIds(image) {
  const ids = image.dataset.ids.split(" ").map(Number);
  const { width, height, places } = await decodePng(image.src);
  return { width, height, ids: places.map((place) => ids[place]) };
}
