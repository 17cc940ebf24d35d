// The pictures in the viewer: how they lie on their canvases, zoom and moving.
const MAX_ZOOM = 40;
const MAX_SIDE = 1600; // of the canvases with outlines and patterns [px]

class Stage {
  /** `divider` is the slider between two pictures; `onDraw` is called with the zoom after each drawing. */
  constructor(element, divider, onDraw) {
    [this.element, this.divider, this.onDraw] = [element, divider, onDraw];
    this.photo = null;
    this.pointers = new Map();
    this.reset();
    this.#listen();
    new ResizeObserver(() => this.draw()).observe(element);
  }

  #listen() {
    const { element } = this;
    this.divider.addEventListener("input", () => this.draw());
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event);
    }, { passive: false });
    element.addEventListener("dblclick", (event) => this.zoomBy(2, event));
    element.addEventListener("pointerdown", (event) => this.#onPointerDown(event));
    element.addEventListener("pointermove", (event) => this.#onPointerMove(event));
    for (const name of ["pointerup", "pointercancel"]) {
      element.addEventListener(name, (event) => {
        this.pointers.delete(event.pointerId);
        this.sliding = false;
      });
    }
  }

  /** Show pictures of a photo; each is a list of its layers: one, or two that the slider divides. */
  show(photo, pictures, options) {
    [this.photo, this.options] = [photo, options];
    this.panels = pictures.map((layers) => {
      const canvas = make("canvas", { role: "img", "aria-label": layers.map((each) => LAYERS[each]).join(", then ") });
      return { layers, canvas };
    });
    this.element.replaceChildren(
      ...this.panels.map(({ layers, canvas }) => make("div", { class: "panel" }, canvas,
        ...layers.map((each) => make("span", { class: "caption" }, LAYERS[each])))),
    );
    this.draw();
  }

  /** Wait for another photo. The pictures of this one stay until then. */
  wait() {
    this.photo = null;
    this.reset();
  }

  /** Show a text instead of pictures. */
  explain(text) {
    this.element.replaceChildren(make("p", { class: "failure", role: "alert" }, text));
  }

  /** Let the photo fit, with its middle in the middle of each picture. */
  reset() {
    this.view = { zoom: 1, x: 0.5, y: 0.5 };
    this.draw();
  }

  /** Choose the number of columns with which the pictures are largest. */
  #columns(count) {
    const { clientWidth: width, clientHeight: height } = this.element;
    const ratio = this.photo.width / this.photo.height;
    const sizes = Array.from({ length: count }, (_, place) => {
      const columns = place + 1;
      return Math.min(width / columns, (height / Math.ceil(count / columns)) * ratio);
    });
    return 1 + sizes.indexOf(Math.max(...sizes));
  }

  draw() {
    if (this.scheduled || !this.photo || !this.element.clientWidth) return;
    this.scheduled = requestAnimationFrame(() => {
      this.scheduled = null;
      if (this.photo) this.#draw();
    });
  }

  #draw() {
    const columns = this.#columns(this.panels.length), rows = Math.ceil(this.panels.length / columns);
    this.element.style.gridTemplate = `repeat(${rows}, minmax(0, 1fr)) / repeat(${columns}, minmax(0, 1fr))`;
    for (const panel of this.panels) this.#drawPanel(panel);
    this.onDraw(this.view.zoom);
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
    const { opacity, outlines, cam } = this.options;
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

  /** Move the photo by shares of its width and height. */
  moveBy(dx, dy) {
    if (!this.photo) return;
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
    this.moveBy(0, 0);
  }

  #onPointerDown(event) {
    if (!this.photo) return;
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    if (this.panels[0].layers.length === 1 || this.pointers.size > 1) return;
    const { left, width } = this.panels[0].canvas.getBoundingClientRect();
    this.sliding = Math.abs(event.clientX - left - (width * this.divider.value) / 100) < 24;
  }

  #onPointerMove(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last || !this.photo) return;
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
    this.moveBy((last.clientX - event.clientX) / w, (last.clientY - event.clientY) / h);
  }
}
