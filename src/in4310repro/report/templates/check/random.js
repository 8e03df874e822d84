// NumPy's random numbers, SeedSequence and PCG64, with which runs draw splits and flips from a seed and names.

const WORD = (1n << 64n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/** Return the four 64-bit words that NumPy's SeedSequence makes of 32-bit integers. */
function seedWords(entropy) {
  let constant = 0x43b0d7e5;
  const hash = (value, factor) => {
    const mixed = value ^ constant;
    constant = Math.imul(constant, factor);
    const product = Math.imul(mixed, constant);
    return product ^ (product >>> 16);
  };
  const mix = (one, other) => {
    const mixed = Math.imul(0xca01f9dd, one) - Math.imul(0x4973f715, other);
    return (mixed | 0) ^ (mixed >>> 16);
  };
  const pool = [0, 1, 2, 3].map(place => hash(entropy[place] ?? 0, 0x931e8875));
  for (let from = 0; from < Math.max(4, entropy.length); from += 1) {
    for (let to = 0; to < 4; to += 1)
      if (to !== from) pool[to] = mix(pool[to], hash(from < 4 ? pool[from] : entropy[from], 0x931e8875));
  }
  constant = 0x8b51f9dd;
  const half = place => BigInt(hash(pool[place % 4], 0x58f38ded) >>> 0);
  return [0, 2, 4, 6].map(place => half(place) | (half(place + 1) << 32n));
}

const stepOf = (state, increment) => BigInt.asUintN(128, state * MULTIPLIER + increment);

/** Return the {state, increment} with which the generator begins that `system.numerics.generator_for` returns. */
async function pcg64(seed, ...names) {
  const key = async name =>
    typeof name === "string" ? BigInt(`0x${(await sha256(bytesOf(name))).slice(0, 16)}`) : name;
  const entropy = [];
  for (const integer of [seed, ...(await Promise.all(names.map(key)))]) {
    let rest = BigInt(integer);
    do entropy.push(Number(rest & 0xffffffffn));
    while ((rest >>= 32n));
  }
  const [high, low, ofHigh, ofLow] = seedWords(entropy);
  const increment = BigInt.asUintN(128, (((ofHigh << 64n) | ofLow) << 1n) | 1n);
  return { state: stepOf(increment + ((high << 64n) | low), increment), increment };
}

/** Return a function that gives one number in [0, 1) after another, as this generator does. */
async function generatorFor(seed, ...names) {
  let { state, increment } = await pcg64(seed, ...names);
  return () => {
    state = stepOf(state, increment);
    const [mixed, turn] = [(state >> 64n) ^ (state & WORD), state >> 122n];
    const word = BigInt.asUintN(64, (mixed >> turn) | (mixed << (64n - turn)));
    return Number(word >> 11n) / 2 ** 53;
  };
}
