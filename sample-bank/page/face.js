// The picture of a shop: its emoji, or its letters where the system has no font for emoji.

const drawn = (() => {
  const board = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  board.canvas.width = board.canvas.height = 20;
  board.font = "16px sans-serif";
  board.textBaseline = "top";
  board.fillText("🥐", 0, 0);
  // A missing picture is a box in the colour of text, black.
  return board.getImageData(0, 0, 20, 20).data.some((value, index) => index % 4 < 3 && value > 40);
})();

export function face(emoji, name) {
  const tile = document.createElement("span");
  tile.className = "face";
  tile.setAttribute("aria-hidden", "true");
  if (drawn) {
    tile.textContent = emoji;
    return tile;
  }
  const letters = name.split(/\s+/).filter((word) => /^\p{L}/u.test(word)).slice(0, 2).map((word) => word[0].toUpperCase());
  tile.classList.add("letters");
  tile.textContent = letters.join("") || "·";
  tile.style.setProperty("--hue", String([...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7)));
  return tile;
}
