// The page: its viewer, its galleries, its links and its folded sections.

const viewer = new Viewer($("#viewer"));
const galleries = new Map($$("section").filter((section) => $("[data-group]", section)).map((section) => [section.id, new Gallery(section)]));

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

/** Let the names of photos to check open them; the file of a photo that is not in the page is loaded first. */
function linkSuspects(gallery) {
  const cardOf = (photo) => $(`#gallery article[data-photo="${CSS.escape(photo)}"]`);
  for (const line of $$("[data-suspect]")) {
    const { suspect, file } = line.dataset;
    if (!cardOf(suspect) && !file) continue;
    const button = make("button", { type: "button", class: "open" }, suspect);
    button.addEventListener("click", async () => {
      $(".failure", line)?.remove();
      const failure = cardOf(suspect) ? null : await gallery.load(file).then(() => null, (error) => error.message);
      const card = cardOf(suspect);
      if (card) viewer.open(card);
      else line.append(make("p", { class: "note warn failure", role: "alert" }, failure ?? "The results of this photo could not be read."));
    });
    $("strong", line).replaceChildren(button);
  }
}

linkSuspects(galleries.get("gallery"));
if (IS_PHONE) for (const section of $$("main > section:not(#summary, #to-check, #scores, #gallery)")) fold(section);
addEventListener("hashchange", unfoldTarget);
unfoldTarget();
document.documentElement.classList.add("js");
