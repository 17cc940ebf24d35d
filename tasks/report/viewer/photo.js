// The pictures of a photo, and the layers that are drawn from them.

const ERRORS = {
  missed: { title: "missed", what: "object in the truth, background in the mask", colour: [0, 114, 178], pattern: "stripes" },
  false: { title: "false", what: "background in the truth, object in the mask", colour: [230, 159, 0], pattern: "dots" },
  wrong: { title: "wrong class", what: "another class in the truth", colour: [204, 121, 167], pattern: "grid" },
};

function kindOfError(mask, truth) {
  if (truth === IGNORED || mask === truth) return null;
  if (mask === 0) return "missed";
  return truth === 0 ? "false" : "wrong";
}

// ---- One photo ---------------------------------------------------------------------------------------------------

/** The pictures of a card, decoded when they are first needed, and the layers that are drawn from them. */
class Photo {
  static #known = new WeakMap();

  static of(card) {
    if (!Photo.#known.has(card)) Photo.#known.set(card, new Photo(card));
    return Photo.#known.get(card);
  }

  constructor(card) {
    this.card = card;
    this.id = card.dataset.photo;
    this.styles = JSON.parse(card.dataset.styles);
    const own = $(".pictures", card);
    const image = (role) => $(`[data-role=${role}] img`, own);
    this.images = Object.fromEntries(["photo", "mask", "truth", "confidence"].map((role) => [role, image(role)]));
    this.cams = $$(".cam", card).flatMap((part) =>
      $$("img", part).map((img) => ({ title: `${nameOf(part.dataset.class)}, ${img.alt.split(" ")[0].toLowerCase()}`, img })),
    );
    this.height = Number(this.images.photo.getAttribute("height"));
    this.width = Number(this.images.photo.getAttribute("width"));
    this.canvases = {};
  }

  has(layer) {
    if (layer === "cam") return this.cams.length > 0;
    if (layer === "errors") return Boolean(this.images.mask && this.images.truth);
    return Boolean(this.images[layer]);
  }

  /** Decode the pictures. If that fails, the next call tries again. */
  async load() {
    this.loading ??= this.#load().catch((error) => {
      this.loading = null;
      throw error;
    });
    return this.loading;
  }

  async #load() {
    const images = [...Object.values(this.images), ...this.cams.map((cam) => cam.img)].filter(Boolean);
    const maps = ["mask", "truth"].filter((role) => this.images[role]);
    for (const image of images) image.loading = "eager";
    await Promise.all([
      ...images.map((image) => image.decode()),
      ...maps.map(async (role) => { this[role] = await readIds(this.images[role]); }),
    ]);
    if (this.has("errors")) this.#countErrors();
  }

  #countErrors() {
    const counts = { missed: 0, false: 0, wrong: 0 };
    let known = 0;
    this.mask.ids.forEach((id, at) => {
      const truth = this.truth.ids[at];
      known += truth !== IGNORED;
      const kind = kindOfError(id, truth);
      if (kind) counts[kind] += 1;
    });
    this.errors = Object.fromEntries(Object.entries(counts).map(([kind, count]) => [kind, known ? count / known : 0]));
  }

  /** Return a canvas with the fill or the outlines of a map of class ids, or with the errors.
   *  Its longer side has about `longerSide` pixels, so that lines and patterns look the same at all sizes. */
  canvas(kind, longerSide) {
    const scale = Math.max(1, Math.round(longerSide / Math.max(this.width, this.height)));
    return (this.canvases[`${kind} ${scale}`] ??= this.#paint(kind, scale));
  }

  #paint(kind, scale) {
    const [role, what] = kind.split(" ");
    if (role === "errors") {
      const colours = Object.fromEntries(Object.entries(ERRORS).map(([name, { colour }]) => [name, opaque(colour)]));
      return painted(this.mask, scale, (at, x, y) => {
        const found = kindOfError(this.mask.ids[at], this.truth.ids[at]);
        if (!found) return null;
        return isLight(ERRORS[found].pattern, x, y) ? WHITE : colours[found];
      });
    }
    const paint = what === "fill" ? paintFill(this[role], this.styles)
      : paintOutlines(this[role], this.styles, scale, what === "dashes");
    return painted(this[role], scale, paint);
  }
}

/** Return why the pictures of a photo cannot be shown, and what to do. */
function failureOf(error) {
  if (!("DecompressionStream" in window)) return "This browser cannot show the photo: use one of the year 2023 or later.";
  return `The pictures of this photo cannot be shown (${error.message}): write the report again with clipes report.`;
}

/** Draw a layer of a photo over the whole rectangle (0, 0, width, height) of a context. */
function drawLayer(context, photo, layer, options, width, height) {
  const base = layer === "confidence" ? photo.images.confidence : photo.images.photo;
  context.imageSmoothingEnabled = options.smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(base, 0, 0, width, height);
  if (layer === "cam" || layer === "errors") {
    context.globalCompositeOperation = "saturation"; // not a filter, which Safari lacks
    context.fillStyle = "#808080";
    context.fillRect(0, 0, width, height);
    context.globalCompositeOperation = "source-over";
  }
  const over = (source, opacity) => {
    context.globalAlpha = opacity;
    context.drawImage(source, 0, 0, width, height);
    context.globalAlpha = 1;
  };
  const { opacity, side } = options;
  if (layer === "cam") {
    context.imageSmoothingEnabled = true;
    over(photo.cams[Math.min(options.cam, photo.cams.length - 1)].img, Math.min(1, 0.35 + opacity));
  }
  if (layer === "mask" || layer === "truth") over(photo.canvas(`${layer} fill`, side), opacity);
  if (layer === "errors") over(photo.canvas("errors", side), Math.min(1, 0.2 + opacity));
  if (!options.outlines) return;
  if (layer === "truth" || layer === "errors") over(photo.canvas(`truth ${layer === "errors" ? "dashes" : "edges"}`, side), 1);
  else if (photo.mask) over(photo.canvas("mask edges", side), 1);
}
