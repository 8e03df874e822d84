// Hashes as runs write them: of bytes, of JSON in canonical form, and of tensors.

const points = text => Array.from(text, letter => letter.codePointAt(0).toString(16).padStart(6, "0")).join("");

/** Compare texts by code points, as Python sorts them; JavaScript alone sorts by UTF-16. */
const byCodePoints = (one, other) => (points(one) < points(other) ? -1 : Number(points(one) > points(other)));

/** Return the sha256 of bytes in lower-case hex. */
async function sha256(bytes) {
  if (!globalThis.crypto?.subtle)
    throw new Obstacle("this browser computes hashes only for pages from a disk or by https");
  return hex(await crypto.subtle.digest("SHA-256", bytes));
}

const bytesOfHex = text => Uint8Array.from(text.match(/../g) ?? [], byte => Number.parseInt(byte, 16));
const hex = buffer => Array.from(new Uint8Array(buffer), byte => byte.toString(16).padStart(2, "0")).join("");

/** Return a JSON value as text in the canonical form of RFC 8785: sorted keys, no spaces, numbers as ECMAScript's. */
function canonical(value) {
  if (typeof value === "bigint") return `${value}`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  const keys = Object.keys(value).sort();
  return `{${keys.map(key => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
}

const bytesOf = text => new TextEncoder().encode(text);
const sha256OfJson = value => sha256(bytesOf(canonical(value)));

const TORCH_NAMES = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U8: "uint8",
  BOOL: "bool",
};

/** Return the line that precedes a tensor's bytes where tensors are hashed, such as `bn1.bias torch.float32 (64,)`. */
function tensorLine(name, { dtype, shape }) {
  const written = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  return `${name} torch.${TORCH_NAMES[dtype]} ${written}\n`;
}

/** Return one sha256 of tensors, or of those with these names. */
async function tensorsSha256(bytes, tensors, names = [...tensors.keys()]) {
  const parts = [...names].sort(byCodePoints).flatMap(name => {
    const tensor = tensors.get(name);
    return [tensorLine(name, tensor), bytes.subarray(tensor.start, tensor.end)];
  });
  return sha256(await new Blob(parts).arrayBuffer());
}

/** Return {all, each} of tensors: one sha256 of all, and the first 12 digits of each one's by name. */
async function tensorHashes(bytes, tensors) {
  const each = {};
  for (const name of tensors.keys()) each[name] = (await tensorsSha256(bytes, tensors, [name])).slice(0, 12);
  return { all: await tensorsSha256(bytes, tensors), each };
}
