"use strict";
// The report's viewer, and the search in its gallery. Everything it shows is in the page's cards: <article data-photo>.
(() => {
  const IS_PHONE = matchMedia("(max-width: 640px)").matches;
  const SHOWN_FIRST = IS_PHONE ? 3 : 6;
  const SHOWN_MORE = 24;
  const LAYERS = { photo: "Photo", cam: "CAM", mask: "Mask", truth: "Truth", confidence: "Confidence", errors: "Errors" };
  const KEYS = { p: "photo", c: "cam", m: "mask", t: "truth", k: "confidence", e: "errors" };
  const MODES = ["one", "side", "slider"];
  const IGNORED = 255;
  const MAX_ZOOM = 40;
  const MAX_SIDE = 1600; // of the canvases with outlines and patterns [px]
  const ERRORS = {
    missed: { title: "missed", what: "object in the truth, background in the mask", colour: [0, 114, 178], pattern: "stripes" },
    false: { title: "false", what: "background in the truth, object in the mask", colour: [230, 159, 0], pattern: "dots" },
    wrong: { title: "wrong class", what: "another class in the truth", colour: [204, 121, 167], pattern: "grid" },
  };
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

  // ---- Maps of class ids -------------------------------------------------------------------------------------------

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

    async load() {
      this.loading ??= this.#load();
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

  // ---- Cards -------------------------------------------------------------------------------------------------------

  /** Draw a layer over its picture on a card, whose longer side gets `side` pixels. */
  function drawThumbnail(photo, image, layer, side, cam = 0) {
    const canvas = make("canvas", { "aria-hidden": "true" });
    const scale = side / Math.max(photo.width, photo.height);
    [canvas.width, canvas.height] = [Math.round(photo.width * scale), Math.round(photo.height * scale)];
    const options = { opacity: 0.55, outlines: layer !== "cam", smooth: true, cam, side };
    drawLayer(canvas.getContext("2d"), photo, layer, options, canvas.width, canvas.height);
    image.parentElement.append(canvas);
  }

  async function drawCard(card) {
    const photo = Photo.of(card);
    await photo.load();
    if (photo.mask) drawThumbnail(photo, photo.images.mask, "mask", 512);
    if (photo.truth) drawThumbnail(photo, photo.images.truth, "truth", 256);
    photo.canvases = {}; // a page may have hundreds of cards
  }

  async function drawCams(card) {
    const photo = Photo.of(card);
    await photo.load();
    photo.cams.forEach((cam, place) => drawThumbnail(photo, cam.img, "cam", 256, place));
  }

  const nearby = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      nearby.unobserve(target);
      drawCard(target);
    }
  }, { rootMargin: "600px" });

  function prepare(card) {
    const pictures = $(".pictures", card);
    pictures.tabIndex = 0;
    pictures.setAttribute("role", "button");
    pictures.setAttribute("aria-label", `Open ${card.dataset.photo} in the viewer`);
    pictures.addEventListener("click", () => viewer.open(card));
    pictures.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      viewer.open(card);
    });
    $(".more", card).addEventListener("toggle", () => drawCams(card), { once: true });
    nearby.observe(card);
  }

  /** Show the first cards of a list, and a button that shows more. */
  class CardList {
    constructor(element) {
      this.element = element;
      this.limit = SHOWN_FIRST;
      this.more = make("button", { type: "button", class: "show-more" });
      this.more.addEventListener("click", () => {
        const first = this.cards[this.limit];
        this.limit += SHOWN_MORE;
        this.update();
        $(".pictures", first).focus();
      });
      element.after(this.more);
      this.update();
    }

    get cards() {
      return $$(":scope > article", this.element);
    }

    update() {
      const cards = this.cards;
      cards.forEach((card, place) => { card.hidden = place >= this.limit; });
      const left = cards.length - this.limit;
      this.more.hidden = left <= 0;
      this.more.textContent = `Show ${Math.min(left, SHOWN_MORE)} more`;
    }

    reveal(card) {
      this.limit = Math.max(this.limit, this.cards.indexOf(card) + 1);
      this.update();
    }
  }

  const lists = new Map();
  const listOf = (card) => lists.get(card.parentElement);

  // ---- Search and order --------------------------------------------------------------------------------------------

  class Gallery {
    constructor(section) {
      this.section = section;
      this.form = $(".find", section);
      this.found = $(".found", section);
      this.homes = new Map(); // card -> the list of its group
      for (const element of $$("[data-group]", section)) this.add(element);
      if (!this.form) return;
      this.form.hidden = false;
      this.form.addEventListener("input", () => this.apply());
      $(".reset", this.form).addEventListener("click", () => this.reset());
      this.further = $(".further", section);
      if (this.further) this.#prepareFurther();
    }

    get cards() {
      return [...this.homes.keys()];
    }

    /** Take the cards of a group into the gallery; the fields offer only what its cards have. */
    add(element) {
      for (const card of $$(":scope > article", element)) {
        if (this.homes.has(card)) continue;
        this.homes.set(card, element);
        prepare(card);
      }
      if (!lists.has(element)) lists.set(element, new CardList(element));
      lists.get(element).update();
      if (this.form) this.#offer();
    }

    #offer() {
      const classes = new Set(this.cards.flatMap((card) => Object.keys(JSON.parse(card.dataset.styles))));
      const reasons = new Map(
        this.cards.flatMap((card) => $$("[data-reason]", card)).map((each) => [each.dataset.reason, each.textContent]),
      );
      const fill = (name, options, kept) => {
        const select = this.form.querySelector(`[name=${name}]`), chosen = select.value;
        select.replaceChildren(
          ...[...select.options].slice(0, kept),
          ...options.map(([value, text]) => make("option", { value }, text)),
        );
        select.value = chosen;
      };
      fill("class", [...classes].map((id) => [id, nameOf(id)]).sort((one, other) => one[1].localeCompare(other[1])), 1);
      fill("reason", [...reasons].sort(), 2);
      const offered = { reason: reasons.size, miou: this.#any("miou"), sure: this.#any("sure") };
      for (const [name, any] of Object.entries(offered)) $(`[name=${name}]`, this.form).parentElement.hidden = !any;
      const orders = { severity: reasons.size, miou: offered.miou, "-miou": offered.miou, sure: offered.sure, "-sure": offered.sure };
      for (const option of $("[name=order]", this.form).options) option.hidden = option.value in orders && !orders[option.value];
    }

    #any(measure) {
      return this.cards.some((card) => measure in card.dataset);
    }

    #fields() {
      return Object.fromEntries($$("[name]", this.form).map((field) => [field.name, field.value]));
    }

    apply() {
      const fields = this.#fields();
      const active = Object.values(fields).some(Boolean);
      $(".reset", this.form).hidden = !active;
      this.section.classList.toggle("searched", active);
      this.found.hidden = !active;
      const list = $(".cards", this.found);
      for (const [card, home] of this.homes) home.append(card); // in the order of the groups
      const matching = active ? this.#sorted(this.cards.filter((card) => this.#matches(card, fields)), fields.order) : [];
      list.append(...matching);
      if (!lists.has(list)) lists.set(list, new CardList(list));
      lists.get(list).limit = Math.max(SHOWN_FIRST, 12);
      for (const element of new Set([list, ...this.homes.values()])) lists.get(element).update();
      $("[role=status]", this.found).textContent = `${matching.length} of ${this.cards.length} photos`;
    }

    reset() {
      for (const field of $$("[name]", this.form)) field.value = "";
      this.apply();
      $("[name=text]", this.form).focus();
    }

    #matches(card, { text, class: classId, reason, miou, sure }) {
      const reasons = $$("[data-reason]", card).map((each) => each.dataset.reason);
      const below = (measure, most) => !most || (measure in card.dataset && Number(card.dataset[measure]) < Number(most));
      return (
        card.dataset.photo.toLowerCase().includes(text.trim().toLowerCase()) &&
        (!classId || classId in JSON.parse(card.dataset.styles)) &&
        (!reason || (reason === "any" ? reasons.length > 0 : reasons.includes(reason))) &&
        below("miou", miou) && below("sure", sure)
      );
    }

    #sorted(cards, order) {
      if (!order) return cards;
      if (order === "photo") return cards.sort((one, other) => one.dataset.photo.localeCompare(other.dataset.photo));
      const descending = order === "severity" || order.startsWith("-");
      const measure = order.replace("-", "");
      const value = (card) => (measure in card.dataset ? Number(card.dataset[measure]) : descending ? -Infinity : Infinity);
      return cards.sort((one, other) => (descending ? value(other) - value(one) : value(one) - value(other)));
    }

    #prepareFurther() {
      const files = this.further.dataset.files.split(" ");
      const button = $("button", this.further), status = $("[role=status]", this.further);
      const total = status.textContent;
      this.further.hidden = false;
      // A script, because a page that was opened from a disk may not read other files. The file calls this function.
      window.clipesPhotos = (html) => {
        const element = $(".cards", this.further);
        element.insertAdjacentHTML("beforeend", html);
        this.add(element);
        lists.get(element).limit += SHOWN_MORE;
        this.apply();
      };
      button.addEventListener("click", () => {
        button.disabled = true;
        const script = make("script", { src: files[0] });
        script.addEventListener("load", () => {
          files.shift();
          button.disabled = false;
          button.hidden = files.length === 0;
          status.textContent = files.length ? `${total} ${this.further.querySelectorAll("article").length} are loaded.` : "All further photos are loaded.";
        });
        script.addEventListener("error", () => {
          button.disabled = false;
          status.textContent = `${files[0]} could not be loaded: keep the folder report/ next to this page, as in the store.`;
        });
        document.head.append(script);
      });
    }
  }

  // ---- The viewer --------------------------------------------------------------------------------------------------

  class Viewer {
    constructor(dialog) {
      this.dialog = dialog;
      this.stage = $(".stage", dialog);
      this.divider = $(".divider", dialog);
      this.state = { mode: "one", layer: "mask", left: "photo", hidden: new Set(), outlines: true, opacity: 0.55, cam: 0 };
      this.view = { zoom: 1, x: 0.5, y: 0.5 }; // the point of the photo at the middle of each picture
      this.pointers = new Map();
      this.layerButtons = Object.fromEntries(
        Object.entries(LAYERS).map(([layer, title]) => {
          const key = Object.keys(KEYS).find((each) => KEYS[each] === layer);
          const button = make("button", { type: "button", "data-layer": layer, title: `${title} (${key})` }, title);
          return [layer, button];
        }),
      );
      $(".layers", dialog).append(...Object.values(this.layerButtons));
      this.#listen();
      new ResizeObserver(() => this.draw()).observe(this.stage);
    }

    #listen() {
      const { dialog, stage } = this;
      dialog.addEventListener("click", (event) => {
        const button = event.target.closest("button");
        if (!button) return;
        if (button.dataset.mode) this.setMode(button.dataset.mode);
        if (button.dataset.layer) this.toggleLayer(button.dataset.layer);
        if (button.dataset.do) this.do(button.dataset.do);
      });
      document.addEventListener("keydown", (event) => dialog.open && this.#onKey(event)); // wherever the focus is
      dialog.addEventListener("close", () => this.#onClose());
      $("[name=opacity]", dialog).addEventListener("input", (event) => this.set({ opacity: event.target.value / 100 }));
      $("[name=cam]", dialog).addEventListener("input", (event) => this.set({ cam: Number(event.target.value) }));
      $("[name=left]", dialog).addEventListener("input", (event) => this.set({ left: event.target.value }));
      this.divider.addEventListener("input", () => this.draw());
      stage.addEventListener("wheel", (event) => {
        event.preventDefault();
        this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event);
      }, { passive: false });
      stage.addEventListener("dblclick", (event) => this.zoomBy(2, event));
      stage.addEventListener("pointerdown", (event) => this.#onPointerDown(event));
      stage.addEventListener("pointermove", (event) => this.#onPointerMove(event));
      for (const name of ["pointerup", "pointercancel"]) {
        stage.addEventListener(name, (event) => {
          this.pointers.delete(event.pointerId);
          this.sliding = false;
        });
      }
    }

    // Opening, closing and moving between photos

    async open(card) {
      if (this.photo) this.photo.canvases = {};
      this.card = card;
      this.photo = null;
      this.view = { zoom: 1, x: 0.5, y: 0.5 };
      if (!this.dialog.open) this.dialog.showModal();
      document.documentElement.classList.add("viewing");
      this.stage.focus();
      const photo = Photo.of(card);
      this.#describe(photo);
      await photo.load();
      if (this.card !== card) return; // another photo was opened meanwhile
      this.photo = photo;
      this.#offerCams();
      this.#describeErrors();
      this.update();
    }

    get neighbours() {
      const section = this.card.closest("section");
      const found = $(".found:not([hidden]) .cards", section);
      return $$("article", found ?? section);
    }

    step(by) {
      const cards = this.neighbours;
      this.open(cards[(cards.indexOf(this.card) + by + cards.length) % cards.length]);
    }

    #onClose() {
      document.documentElement.classList.remove("viewing");
      this.card.closest("details.group")?.setAttribute("open", "");
      listOf(this.card)?.reveal(this.card);
      const pictures = $(".pictures", this.card);
      pictures.focus({ preventScroll: true });
      pictures.scrollIntoView({ block: "nearest", behavior: "instant" });
    }

    do(action) {
      const actions = {
        close: () => this.dialog.close(),
        help: () => { const help = $(".help", this.dialog); help.hidden = !help.hidden; },
        previous: () => this.step(-1),
        next: () => this.step(1),
        outlines: () => this.set({ outlines: !this.state.outlines }),
        enlarge: () => this.zoomBy(1.5),
        reduce: () => this.zoomBy(1 / 1.5),
        fit: () => { this.view = { zoom: 1, x: 0.5, y: 0.5 }; this.draw(); },
      };
      actions[action]();
    }

    #onKey(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const inField = event.target.matches("input, select");
      const { key } = event;
      if (inField && (key.startsWith("Arrow") || event.target.matches("select"))) return;
      const moves = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
      const actions = { ArrowLeft: "previous", ArrowRight: "next", o: "outlines", "+": "enlarge", "=": "enlarge", "-": "reduce", 0: "fit", "?": "help" };
      const opacities = { "[": -0.1, "]": 0.1 };
      if (event.shiftKey && key in moves) this.#moveBy(...moves[key].map((part) => part / this.view.zoom));
      else if (key in actions) this.do(actions[key]);
      else if (key in KEYS) this.toggleLayer(KEYS[key]);
      else if (["1", "2", "3"].includes(key)) this.setMode(MODES[key - 1]);
      else if (key in opacities) this.set({ opacity: Math.min(1, Math.max(0, this.state.opacity + opacities[key])) });
      else return;
      event.preventDefault();
    }

    // What is shown

    set(changes) {
      Object.assign(this.state, changes);
      this.update();
    }

    setMode(mode) {
      this.set({ mode });
    }

    /** Show a layer. Side by side, show or hide its picture; otherwise, a shown layer gives way to the photo. */
    toggleLayer(layer) {
      if (!this.photo?.has(layer)) return;
      const { state } = this;
      if (state.mode !== "side") return this.set({ layer: state.layer === layer ? "photo" : layer });
      const hidden = new Set(state.hidden);
      if (!hidden.delete(layer)) hidden.add(layer);
      if (Object.keys(LAYERS).some((each) => this.photo.has(each) && !hidden.has(each))) this.set({ hidden });
    }

    /** Return the layers of each picture: one, or two that a slider divides. */
    #pictures() {
      const { mode, layer, left, hidden } = this.state;
      const has = (each) => (this.photo.has(each) ? each : "photo");
      if (mode === "side") {
        const shown = Object.keys(LAYERS).filter((each) => this.photo.has(each) && !hidden.has(each));
        return (shown.length ? shown : ["photo"]).map((each) => [each]);
      }
      return mode === "slider" ? [[has(left), has(layer)]] : [[has(layer)]];
    }

    update() {
      if (!this.photo) return;
      const { dialog, state, photo } = this;
      const pictures = this.#pictures();
      dialog.dataset.mode = state.mode;
      for (const button of $$("[data-mode]", dialog).filter((each) => each !== dialog)) {
        button.setAttribute("aria-pressed", String(button.dataset.mode === state.mode));
      }
      const pressed = new Set(pictures.map((layers) => layers.at(-1)));
      for (const [layer, button] of Object.entries(this.layerButtons)) {
        button.hidden = !photo.has(layer);
        button.setAttribute("aria-pressed", String(pressed.has(layer)));
      }
      $("[data-do=outlines]", dialog).setAttribute("aria-pressed", String(state.outlines));
      $("[name=opacity]", dialog).value = Math.round(100 * state.opacity);
      this.divider.hidden = state.mode !== "slider";
      $(".left", dialog).hidden = state.mode !== "slider";
      $("[name=left]", dialog).replaceChildren(
        ...Object.keys(LAYERS).filter((each) => photo.has(each)).map((each) => make("option", { value: each }, LAYERS[each])),
      );
      $("[name=left]", dialog).value = photo.has(state.left) ? state.left : "photo";
      const shown = new Set(pictures.flat());
      $(".of-cam", dialog).hidden = !shown.has("cam") || photo.cams.length < 2;
      $(".errors", dialog).hidden = !shown.has("errors");
      this.panels = pictures.map((layers) => {
        const canvas = make("canvas", { role: "img", "aria-label": layers.map((each) => LAYERS[each]).join(", then ") });
        return { layers, canvas };
      });
      const captions = this.panels.map(({ layers }) => layers.map((each) => LAYERS[each]));
      this.stage.replaceChildren(
        ...this.panels.map(({ canvas }, place) => make("div", { class: "panel" }, canvas,
          ...captions[place].map((caption) => make("span", { class: "caption" }, caption)))),
      );
      this.draw();
    }

    /** Choose the number of columns with which the pictures are largest. */
    #columns(count) {
      const { clientWidth: width, clientHeight: height } = this.stage;
      const ratio = this.photo.width / this.photo.height;
      const sizes = Array.from({ length: count }, (_, place) => {
        const columns = place + 1;
        return Math.min(width / columns, (height / Math.ceil(count / columns)) * ratio);
      });
      return 1 + sizes.indexOf(Math.max(...sizes));
    }

    draw() {
      if (this.scheduled || !this.photo || !this.dialog.open) return;
      this.scheduled = requestAnimationFrame(() => {
        this.scheduled = null;
        if (this.photo) this.#draw();
      });
    }

    #draw() {
      const columns = this.#columns(this.panels.length), rows = Math.ceil(this.panels.length / columns);
      this.stage.style.gridTemplate = `repeat(${rows}, minmax(0, 1fr)) / repeat(${columns}, minmax(0, 1fr))`;
      for (const panel of this.panels) this.#drawPanel(panel);
      $(".zoom", this.dialog).textContent = percent(this.view.zoom);
    }

    /** Return how a picture lies on its canvas, in CSS pixels. */
    #place(canvas) {
      const { clientWidth: width, clientHeight: height } = canvas;
      const { photo, view } = this;
      const scale = Math.min(width / photo.width, height / photo.height) * view.zoom;
      const [w, h] = [photo.width * scale, photo.height * scale];
      return { width, height, w, h, x: width / 2 - view.x * w, y: height / 2 - view.y * h, scale };
    }

    #drawPanel({ layers, canvas }) {
      const place = this.#place(canvas);
      const dense = window.devicePixelRatio || 1;
      [canvas.width, canvas.height] = [Math.round(place.width * dense), Math.round(place.height * dense)];
      const context = canvas.getContext("2d");
      const { opacity, outlines, cam } = this.state;
      const side = Math.min(MAX_SIDE, (Math.max(place.w, place.h) / this.view.zoom) * dense);
      const options = { opacity, outlines, cam, side, smooth: place.scale < 6 };
      layers.forEach((layer, number) => {
        context.save();
        context.scale(dense, dense);
        if (layers.length === 2) {
          const at = (place.width * this.divider.value) / 100;
          context.beginPath();
          context.rect(number ? at : 0, 0, number ? place.width - at : at, place.height);
          context.clip();
        }
        context.translate(place.x, place.y);
        drawLayer(context, this.photo, layer, options, place.w, place.h);
        context.restore();
      });
      if (layers.length === 2) this.#drawHandle(context, dense, place);
    }

    #drawHandle(context, dense, place) {
      const at = (place.width * this.divider.value) / 100, middle = place.height / 2;
      context.save();
      context.scale(dense, dense);
      context.fillStyle = "#fff";
      context.shadowColor = "#000a";
      context.shadowBlur = 6;
      context.fillRect(at - 1.5, 0, 3, place.height);
      context.beginPath();
      context.arc(at, middle, 15, 0, 7);
      context.fill();
      context.shadowBlur = 0;
      context.fillStyle = "#222";
      context.beginPath();
      for (const side of [-1, 1]) {
        context.moveTo(at + side * 10, middle);
        context.lineTo(at + side * 4, middle - 5);
        context.lineTo(at + side * 4, middle + 5);
      }
      context.fill();
      context.restore();
    }

    // Zoom and pan

    #moveBy(dx, dy) {
      const { view } = this;
      view.x = Math.min(1, Math.max(0, view.x + dx));
      view.y = Math.min(1, Math.max(0, view.y + dy));
      this.draw();
    }

    /** Zoom; the point of the photo under the pointer stays where it is. */
    zoomBy(factor, pointer = null) {
      if (!this.photo) return;
      const canvas = pointer?.target.closest?.("canvas") ?? this.panels[0].canvas;
      const before = this.#place(canvas), box = canvas.getBoundingClientRect();
      const [px, py] = pointer ? [pointer.clientX - box.left, pointer.clientY - box.top] : [before.width / 2, before.height / 2];
      const [u, v] = [(px - before.x) / before.w, (py - before.y) / before.h];
      this.view.zoom = Math.min(MAX_ZOOM, Math.max(1, this.view.zoom * factor));
      if (this.view.zoom === 1) Object.assign(this.view, { x: 0.5, y: 0.5 });
      else {
        const after = this.#place(canvas);
        this.view.x = u - (px - after.width / 2) / after.w;
        this.view.y = v - (py - after.height / 2) / after.h;
      }
      this.#moveBy(0, 0);
    }

    #onPointerDown(event) {
      if (!this.photo) return;
      this.stage.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
      if (this.state.mode !== "slider" || this.pointers.size > 1) return;
      const { left, width } = this.panels[0].canvas.getBoundingClientRect();
      this.sliding = Math.abs(event.clientX - left - (width * this.divider.value) / 100) < 24;
    }

    #onPointerMove(event) {
      const last = this.pointers.get(event.pointerId);
      if (!last) return;
      const others = [...this.pointers.values()].filter((each) => each.pointerId !== event.pointerId);
      this.pointers.set(event.pointerId, event);
      const canvas = this.panels[0].canvas, box = canvas.getBoundingClientRect();
      if (this.sliding) {
        this.divider.value = (100 * (event.clientX - box.left)) / box.width;
        return this.draw();
      }
      if (others.length) {
        const [other] = others;
        const distance = (each) => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY);
        const middle = { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2, target: canvas };
        return this.zoomBy(distance(event) / Math.max(1, distance(last)), middle);
      }
      const { w, h } = this.#place(canvas);
      this.#moveBy((last.clientX - event.clientX) / w, (last.clientY - event.clientY) / h);
    }

    // Texts

    #describe(photo) {
      const { dialog } = this;
      const cards = this.neighbours;
      $("#viewer-title").textContent = photo.id;
      $(".place", dialog).textContent = `${cards.indexOf(this.card) + 1} of ${cards.length}`;
      const facts = [$(".measures", this.card), $(".files", this.card)].map((each) => each.cloneNode(true));
      const reasons = $$("[data-reason]", this.card).map((each) => make("li", {}, make("strong", {}, each.textContent), ` ${each.title}`));
      $(".facts", dialog).replaceChildren(...(reasons.length ? [make("ul", { class: "why" }, ...reasons)] : []), ...facts);
    }

    #offerCams() {
      const { cams } = this.photo;
      const refined = cams.findIndex((cam) => cam.title.endsWith("refined"));
      if (this.state.cam >= cams.length || this.state.cam === 0) this.state.cam = Math.max(0, refined);
      $("[name=cam]", this.dialog).replaceChildren(...cams.map(({ title }, place) => make("option", { value: place }, title)));
      $("[name=cam]", this.dialog).value = this.state.cam;
    }

    #describeErrors() {
      const { errors } = this.photo;
      $(".errors", this.dialog).replaceChildren(
        ...Object.entries(errors ?? {}).map(([kind, share]) => {
          const { title, what, colour, pattern } = ERRORS[kind];
          const swatch = make("i", { class: pattern, style: `background-color:rgb(${colour})` });
          return make("li", { title: what, "data-error": kind }, swatch, `${title} `, make("strong", {}, percent(share, 1)));
        }),
      );
    }
  }

  // ---- The page ----------------------------------------------------------------------------------------------------

  const viewer = new Viewer($("#viewer"));
  for (const section of $$("section")) if ($("[data-group]", section)) new Gallery(section);

  /** Open the folded part that a link leads to. */
  function unfoldTarget() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const folded = $(":scope > details.fold", target);
    if (folded) folded.open = true;
    target.scrollIntoView({ behavior: "instant" });
  }

  /** Fold a section, so that only its heading is seen. */
  function fold(section) {
    const details = make("details", { class: "fold" }, make("summary", {}, $(":scope > h2", section)));
    details.append(...section.childNodes);
    section.append(details);
  }

  /** Let the names of photos to check open them. */
  function linkSuspects() {
    for (const line of $$("[data-suspect]")) {
      const card = $(`article[data-photo="${CSS.escape(line.dataset.suspect)}"]`);
      if (!card) continue;
      const button = make("button", { type: "button", class: "open" }, line.dataset.suspect);
      button.addEventListener("click", () => viewer.open(card));
      $("strong", line).replaceChildren(button);
    }
  }

  linkSuspects();
  if (IS_PHONE) for (const section of $$("main > section:not(#summary, #to-check, #scores, #gallery)")) fold(section);
  addEventListener("hashchange", unfoldTarget);
  unfoldTarget();
  document.documentElement.classList.add("js");
})();
