// The cards of photos, and lists of them.

/** Draw a layer over its picture on a card, whose longer side gets `side` pixels. */
function drawThumbnail(photo, image, layer, side, cam = 0) {
  const canvas = make("canvas", { "aria-hidden": "true" });
  const scale = side / Math.max(photo.width, photo.height);
  [canvas.width, canvas.height] = [Math.round(photo.width * scale), Math.round(photo.height * scale)];
  const options = { opacity: 0.55, outlines: layer !== "cam", smooth: true, cam, side };
  drawLayer(canvas.getContext("2d"), photo, layer, options, canvas.width, canvas.height);
  image.parentElement.append(canvas);
}

/** Load the photo of a card and return it; null if that fails, which the card then says. */
async function loadFor(card) {
  const photo = Photo.of(card);
  const failure = await photo.load().then(() => null, failureOf);
  if (failure && !$(".failure", card)) $(".pictures", card).after(make("p", { class: "note warn failure" }, failure));
  return failure ? null : photo;
}

async function drawCard(card) {
  const photo = await loadFor(card);
  if (!photo) return;
  if (photo.mask) drawThumbnail(photo, photo.images.mask, "mask", 512);
  if (photo.truth) drawThumbnail(photo, photo.images.truth, "truth", 256);
  photo.canvases = {}; // a page may have hundreds of cards
}

async function drawCams(card) {
  const photo = await loadFor(card);
  photo?.cams.forEach((cam, place) => drawThumbnail(photo, cam.img, "cam", 256, place));
}

const nearby = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    nearby.unobserve(target);
    drawCard(target);
  }
}, { rootMargin: "600px" });

/** Link the mask as the card shows it. Browsers do not open local files from the page of a server: show their paths. */
function linkFiles(card) {
  const files = $(".files", card), mask = $("[data-role=mask] img", card);
  if (mask) {
    const [width, height] = ["width", "height"].map((side) => mask.getAttribute(side));
    const link = make("a", { href: mask.src, download: `${card.dataset.photo}-mask.png` }, `${width} × ${height} px, in the colours of this page`);
    files.append(make("div", {}, make("dt", {}, "Mask as a picture"), make("dd", {}, link)));
  }
  if (location.protocol === "file:") return;
  for (const link of $$("a[href^='file:']", files)) link.replaceWith(make("code", {}, link.textContent));
}

function prepare(card) {
  linkFiles(card);
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
