// Readers of the formats of a run: stored zip archives, npy arrays, safetensors, CSV, and uncompressed BMP.

const view = bytes => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Return the files in a zip archive without compression, with paths below the archive's. */
async function zipEntries(archive) {
  const fault = what => new Fault(archive.path, `it is not a zip archive of stored files: ${what}`);
  const tail = await archive.read(Math.max(0, archive.size - 65557));
  const ends = view(tail);
  let at = tail.length - 22;
  while (at >= 0 && ends.getUint32(at, true) !== 0x06054b50) at -= 1;
  if (at < 0) throw fault("it has no directory");
  const [count, size, start] = [
    ends.getUint16(at + 10, true),
    ends.getUint32(at + 12, true),
    ends.getUint32(at + 16, true),
  ];
  if (count === 0xffff || size === 0xffffffff || start === 0xffffffff) {
    throw fault("it is in the format zip64, which this page does not read; drop its content as a folder");
  }
  if (start + size > archive.size) throw fault("its directory is beyond its end");
  const directory = await archive.read(start, start + size);
  const fields = view(directory);
  const entries = new Map();
  for (let number = 0, place = 0; number < count; number += 1) {
    if (place + 46 > size || fields.getUint32(place, true) !== 0x02014b50) throw fault("its directory is damaged");
    const [nameLength, extra, comment] = [28, 30, 32].map(field => fields.getUint16(place + field, true));
    const name = new TextDecoder().decode(directory.subarray(place + 46, place + 46 + nameLength));
    const [length, local] = [fields.getUint32(place + 24, true), fields.getUint32(place + 42, true)];
    if (fields.getUint16(place + 10, true) !== 0) throw fault(`${name} is compressed`);
    if (entries.has(name)) throw fault(`it holds two files named ${name}`);
    const read = async (from = 0, to = length) => {
      const header = await archive.read(local, local + 30);
      if (header.length < 30 || view(header).getUint32(0, true) !== 0x04034b50) throw fault(`${name} is damaged`);
      const begin = local + 30 + view(header).getUint16(26, true) + view(header).getUint16(28, true);
      if (begin + length > archive.size) throw fault(`${name} is cut off`);
      return archive.read(begin + from, begin + Math.min(to, length));
    };
    entries.set(name, { path: `${archive.path}/${name}`, name, size: length, read });
    place += 46 + nameLength + extra + comment;
  }
  return [...entries.values()].filter(entry => !entry.name.endsWith("/"));
}

/** Return the array in a file of npy format 1.0 as {type, shape, values}; types are <f4, <i8 and <U, in C order. */
async function readNpy(file) {
  const bytes = (await file.read()).slice();
  const fault = what => new Fault(file.path, `it is not an npy array of a run: ${what}`);
  const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0];
  if (magic.some((value, place) => bytes[place] !== value)) throw fault("its format is not 1.0");
  const start = 10 + view(bytes).getUint16(8, true);
  const header = new TextDecoder("latin1").decode(bytes.subarray(10, start));
  const found = /^\{'descr': '(<f4|<i8|<U(\d{1,6}))', 'fortran_order': False, 'shape': \(([\d, ]*)\), \}\s*$/.exec(
    header,
  );
  if (!found) throw fault(`its header is ${header.slice(0, 100)}`);
  const shape = found[3]
    .split(",")
    .filter(text => text.trim())
    .map(Number);
  const number = shape.reduce((product, length) => product * length, 1);
  const width = found[2] === undefined ? { "<f4": 4, "<i8": 8 }[found[1]] : 4 * Number(found[2]);
  if (number * width !== bytes.length - start)
    throw fault(`its shape is ${shape}, and it has ${bytes.length - start} bytes`);
  const data = bytes.slice(start);
  if (found[1] === "<f4") return { type: "<f4", shape, bytes: bytes.length, values: new Float32Array(data.buffer) };
  if (found[1] === "<i8")
    return { type: "<i8", shape, bytes: bytes.length, values: Array.from(new BigInt64Array(data.buffer), Number) };
  const codes = new Uint32Array(data.buffer);
  const letters = width / 4;
  const text = place => {
    const own = codes.subarray(place * letters, (place + 1) * letters);
    const end = own.findLastIndex(code => code !== 0) + 1;
    return Array.from(own.subarray(0, end), code => String.fromCodePoint(code)).join("");
  };
  return { type: "<U", shape, bytes: bytes.length, values: Array.from({ length: number }, (_, place) => text(place)) };
}

const BYTES_OF = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 };

/**
 * Return {metadata, tensors} of a safetensors file; a tensor is {dtype, shape, start, end}, in bytes of the file.
 * `isShortest` says whether its header has nothing beside them.
 */
async function readSafetensors(file) {
  const fault = what => new Fault(file.path, `it is not a complete safetensors file: ${what}`);
  if (file.size < 8) throw fault(`it has ${file.size} bytes`);
  const length = Number(view(await file.read(0, 8)).getBigUint64(0, true));
  if (length > 1e8 || 8 + length > file.size) throw fault(`its header would have ${length} bytes`);
  let [text, header] = [];
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.read(8, 8 + length));
    header = JSON.parse(text);
  } catch {
    throw fault("its header is not JSON");
  }
  const { __metadata__: metadata = {}, ...entries } = header;
  const tensors = new Map();
  let end = 0;
  for (const [name, { dtype, shape, data_offsets: place }] of Object.entries(entries).sort(
    (one, other) =>
      one[1].data_offsets[0] - other[1].data_offsets[0] || one[1].data_offsets[1] - other[1].data_offsets[1],
  )) {
    const bytes = shape.reduce((product, size) => product * size, BYTES_OF[dtype]);
    if (place[0] !== end || place[1] - place[0] !== bytes) throw fault(`${name} does not have the bytes of its shape`);
    end = place[1];
    tensors.set(name, { dtype, shape, start: 8 + length + place[0], end: 8 + length + place[1] });
  }
  if (8 + length + end !== file.size) throw fault(`its tensors end at byte ${8 + length + end} of ${file.size}`);
  const shortest = JSON.stringify(header);
  const isShortest = text === shortest.padEnd(shortest.length + (-bytesOf(shortest).length & 7));
  return { metadata, tensors, isShortest };
}

/** Return the rows of a CSV text, each a list of fields. A quoted field may hold commas, quotes and line ends. */
function parseCsv(text) {
  const rows = [];
  let [row, field, quoted] = [[], "", false];
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (quoted) {
      if (letter !== '"') field += letter;
      else if (text[at + 1] === '"') field += text[(at += 1)];
      else quoted = false;
    } else if (letter === '"' && field === "") quoted = true;
    else if (letter === ",") {
      row.push(field);
      field = "";
    } else if (letter === "\n") {
      rows.push([...row, field]);
      [row, field] = [[], ""];
    } else field += letter;
  }
  return row.length || field ? [...rows, [...row, field]] : rows;
}

/** Return {height, width, pixels} of a BMP of 24 bits without compression, or a sentence that says what else it is. */
function decodeBmp(bytes) {
  if (bytes.length < 54 || bytes[0] !== 0x42 || bytes[1] !== 0x4d)
    return "it is not a BMP, and this page decodes no other picture";
  const fields = view(bytes);
  const [start, header, width, signed] = [10, 14, 18, 22].map(at => fields.getInt32(at, true));
  const height = Math.abs(signed);
  if (header < 40 || fields.getUint16(28, true) !== 24 || fields.getUint32(30, true) !== 0) {
    return "it is a BMP with compression or with other than 24 bits for each pixel";
  }
  const stride = Math.ceil((width * 3) / 4) * 4;
  if (width < 1 || height < 1 || start < 14 + header || start + stride * height > bytes.length)
    return "the BMP is damaged";
  const pixels = new Uint8Array(height * width * 3);
  for (let row = 0, to = 0; row < height; row += 1) {
    let from = start + stride * (signed > 0 ? height - 1 - row : row);
    for (let column = 0; column < width; column += 1, from += 3, to += 3) {
      // From blue, green, red.
      pixels[to] = bytes[from + 2];
      pixels[to + 1] = bytes[from + 1];
      pixels[to + 2] = bytes[from];
    }
  }
  return { height, width, pixels };
}
