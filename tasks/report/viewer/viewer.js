// The dialog that shows one photo: its buttons, keys and texts.
const KEYS = { p: "photo", c: "cam", m: "mask", t: "truth", k: "confidence", e: "errors" };
const MODES = ["one", "side", "slider"];

class Viewer {
  constructor(dialog) {
    this.dialog = dialog;
    this.divider = $(".divider", dialog);
    this.stage = new Stage($(".stage", dialog), this.divider, (zoom) => { $(".zoom", dialog).textContent = percent(zoom); });
    this.state = { mode: "one", layer: "mask", left: "photo", hidden: new Set(), outlines: true, opacity: 0.55, cam: 0 };
    this.layerButtons = Object.fromEntries(
      Object.entries(LAYERS).map(([layer, title]) => {
        const key = Object.keys(KEYS).find((each) => KEYS[each] === layer);
        const button = make("button", { type: "button", "data-layer": layer, title: `${title} (${key})` }, title);
        return [layer, button];
      }),
    );
    $(".layers", dialog).append(...Object.values(this.layerButtons));
    this.#listen();
  }

  #listen() {
    const { dialog } = this;
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
  }

  // Opening, closing and moving between photos

  async open(card) {
    if (this.photo) this.photo.canvases = {};
    this.card = card;
    this.photo = null;
    this.stage.wait();
    $(".errors", this.dialog).hidden = true;
    if (!this.dialog.open) this.dialog.showModal();
    document.documentElement.classList.add("viewing");
    this.stage.element.focus();
    const photo = Photo.of(card);
    this.#describe(photo);
    const failure = await photo.load().then(() => null, failureOf);
    if (this.card !== card) return; // another photo was opened meanwhile
    if (failure) return this.stage.explain(failure);
    this.photo = photo;
    this.#offerCams();
    this.#describeErrors();
    this.update();
  }

  /** The cards among which the arrows lead: those that were found if the card is one of them, else those of its section. */
  get neighbours() {
    const section = this.card.closest("section");
    const found = $$(".found:not([hidden]) .cards > article", section);
    return found.includes(this.card) ? found : $$("article", section);
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
      enlarge: () => this.stage.zoomBy(1.5),
      reduce: () => this.stage.zoomBy(1 / 1.5),
      fit: () => this.stage.reset(),
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
    if (event.shiftKey && key in moves) this.stage.moveBy(...moves[key].map((part) => part / this.stage.view.zoom));
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
    this.stage.show(photo, pictures, state);
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
