// Label map of a photo by a file of `lemore export --with-normalization --labels image`.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

const get = (id) => document.getElementById(id);

// Lists [number, bytes] of a protobuf's fields, those that are plain numbers left out.
function* listFields(bytes) {
  let at = 0;
  const readNumber = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (!(byte > 127)) return value;
    }
  };
  while (at < bytes.length) {
    const key = readNumber();
    const length = readNumber(); // or the field's value
    if (key % 8 === 2) yield [key >> 3, bytes.subarray(at, (at += length))];
  }
}

// Reads the metadata (field 14) of an ONNX file, which onnxruntime-web does not give.
function readMetadata(bytes) {
  const decoder = new TextDecoder();
  const decode = (entry) => [...listFields(entry)].map(([, text]) => decoder.decode(text));
  const entries = [...listFields(bytes)].filter(([number]) => number === 14);
  const texts = entries.map(([, entry]) => decode(entry));
  return Object.fromEntries(texts.map(([key, value]) => [key, JSON.parse(value)]));
}

async function openModel(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const session = await ort.InferenceSession.create(bytes);
  const about = readMetadata(bytes);
  if (about.input !== "RGB 0..255" || about.output !== "train ids")
    throw new Error("export the model with --with-normalization --labels image");
  return { session, ...about };
}

// Finds the two pixels of a row (or column) that a sample lies between, and the second one's share.
function findPlace(index, samples, pixels) {
  const at = (index + 0.5) * (pixels / samples) - 0.5;
  const before = Math.floor(at);
  return [Math.max(before, 0), Math.min(before + 1, pixels - 1), at - before];
}

// Samples RGBA pixels H W 4 without smoothing, as in training; float 3 h w, 0..255.
function resize({ data, width: W, height: H }, h, w) {
  const image = new Float32Array(3 * h * w);
  for (let y = 0; y < h; y++) {
    const [above, below, down] = findPlace(y, h, H);
    for (let x = 0; x < w; x++) {
      const [before, after, right] = findPlace(x, w, W);
      for (let channel = 0; channel < 3; channel++) {
        const mix = (line) => {
          const left = data[(line * W + before) * 4 + channel];
          return left + (data[(line * W + after) * 4 + channel] - left) * right;
        };
        image[(channel * h + y) * w + x] = mix(above) + (mix(below) - mix(above)) * down;
      }
    }
  }
  return image;
}

// Returns the pixels of a photo, upright, and shows it.
async function drawPhoto(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  Object.assign(get("picture"), { width, height });
  const context = get("picture").getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height);
}

// Shows train ids h w in the classes' colours, H W; each pixel takes the nearest one's.
function drawLabels(ids, [h, w], { width: W, height: H }, colors) {
  const picture = new ImageData(W, H);
  for (let y = 0; y < H; y++)
    for (let x = 0; x < W; x++) {
      const row = Math.floor(((2 * y + 1) * h) / (2 * H));
      const column = Math.floor(((2 * x + 1) * w) / (2 * W));
      picture.data.set([...colors[ids[row * w + column]], 255], (y * W + x) * 4);
    }
  Object.assign(get("labels"), { width: W, height: H });
  get("labels").getContext("2d").putImageData(picture, 0, 0);
}

function drawLegend(ids, { classes, colors }) {
  const rows = classes.map((name, id) => {
    const row = document.createElement("li");
    const patch = row.appendChild(document.createElement("span"));
    patch.style.background = `rgb(${colors[id]})`;
    const share = ids.filter((one) => one === id).length / ids.length;
    row.append(`${name}: ${(100 * share).toFixed(1)}%`);
    return { row, share };
  });
  const found = rows.filter(({ share }) => share > 0);
  get("legend").replaceChildren(...found.map(({ row }) => row));
}

async function show() {
  const [model, photo] = [get("model").files[0], get("photo").files[0]];
  if (!model || !photo) return;
  get("files").disabled = true;
  get("status").textContent = "Computing ...";
  try {
    const { session, ...about } = await openModel(model);
    const pixels = await drawPhoto(photo);
    const [h, w] = about.size;
    const image = new ort.Tensor("float32", resize(pixels, h, w), [1, 3, h, w]);
    const start = performance.now();
    const { output } = await session.run({ image });
    const time = Math.round(performance.now() - start);
    drawLabels(output.data, about.size, pixels, about.colors);
    drawLegend(output.data, about);
    get("status").textContent = `${model.name}, ${photo.name}: ${time} ms`;
    await session.release();
  } catch (error) {
    get("status").textContent = `${error.message ?? error}`;
  }
  get("files").disabled = false;
}

for (const id of ["model", "photo"]) get(id).addEventListener("change", show);
