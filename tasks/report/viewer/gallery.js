// The search in the gallery, its order, and the photos in files next to the page.
const FOUND_FIRST = 12;

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
    lists.get(list).limit = FOUND_FIRST;
    for (const element of new Set([list, ...this.homes.values()])) lists.get(element).update();
    const loaded = this.cards.length, total = Number(this.form.dataset.photos);
    $("[role=status]", this.found).textContent = loaded < total
      ? `${matching.length} of the ${loaded} loaded photos; the run has ${total.toLocaleString("en")}`
      : `${matching.length} of ${loaded} photos`;
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
    this.further.hidden = false;
    this.files = new Map(this.further.dataset.files.split(" ").map((file) => [file, null])); // file -> its loading
    this.total = $("[role=status]", this.further).textContent;
    // A script, because a page that was opened from a disk may not read other files. The file calls this function.
    window.clipesPhotos = (html) => {
      const element = $(".cards", this.further);
      element.insertAdjacentHTML("beforeend", html);
      this.add(element);
      lists.get(element).limit += SHOWN_MORE;
      this.apply();
    };
    $("button", this.further).addEventListener("click", () => {
      const next = [...this.files].find(([, loading]) => !loading);
      this.load(next[0]).catch(() => {}); // the status says what is missing
    });
  }

  /** Load a file with further photos, at most once; throw an error that says what to do if it cannot be loaded. */
  load(file) {
    if (!this.files.get(file)) this.files.set(file, this.#load(file));
    return this.files.get(file);
  }

  async #load(file) {
    const button = $("button", this.further), status = $("[role=status]", this.further);
    button.disabled = true;
    try {
      await new Promise((done, fail) => {
        const script = make("script", { src: file });
        script.addEventListener("load", done);
        script.addEventListener("error", fail);
        document.head.append(script);
      });
    } catch {
      this.files.set(file, null);
      const advice = location.protocol === "file:" ? "keep the folder report/ next to this page, as in the store" : "open the report again";
      status.textContent = `${file} could not be loaded: ${advice}.`;
      throw new Error(status.textContent);
    } finally {
      button.disabled = false;
      button.hidden = [...this.files.values()].every(Boolean);
    }
    const list = $(".cards", this.further), loaded = [...this.homes.values()].filter((home) => home === list).length;
    status.textContent = button.hidden ? "All further photos are loaded." : `${this.total} ${loaded} are loaded.`;
  }
}
