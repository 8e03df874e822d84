//! SHA-256 (FIPS 180-4).

/// The first 32 bits of the fractional parts of roots of the first primes.
const fn fractions<const N: usize>(power: u32) -> [u32; N] {
    let (mut fractions, mut number, mut prime) = ([0; N], 0, 2_u128);
    while number < N {
        fractions[number] = root(prime << (32 * power), power) as u32;
        number += 1;
        prime += 1;
        while !is_prime(prime) {
            prime += 1;
        }
    }
    fractions
}

/// The largest number, below 2^37, with root^power <= value.
const fn root(value: u128, power: u32) -> u128 {
    let (mut root, mut bit) = (0, 1_u128 << 36);
    while bit > 0 {
        if (root + bit).pow(power) <= value {
            root += bit;
        }
        bit /= 2;
    }
    root
}

const fn is_prime(number: u128) -> bool {
    let mut divisor = 2;
    while number % divisor != 0 {
        divisor += 1;
    }
    divisor == number
}

static CONSTANTS: [u32; 64] = fractions(3);

pub struct Sha256 {
    state: [u32; 8],
    block: [u8; 64],
    bytes: u64,
}

impl Sha256 {
    pub fn new() -> Sha256 {
        const START: [u32; 8] = fractions(2);
        Sha256 { state: START, block: [0; 64], bytes: 0 }
    }

    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let begin = (self.bytes % 64) as usize;
            let (head, rest) = data.split_at(data.len().min(64 - begin));
            self.block[begin..][..head.len()].copy_from_slice(head);
            self.bytes += head.len() as u64;
            if self.bytes % 64 == 0 {
                self.compress();
            }
            data = rest;
        }
    }

    pub fn finish(mut self) -> [u8; 32] {
        let bits = self.bytes * 8;
        self.update(&[0x80]);
        while self.bytes % 64 != 56 {
            self.update(&[0]);
        }
        self.update(&bits.to_be_bytes());
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    fn compress(&mut self) {
        let mut words = [0_u32; 64];
        for (word, bytes) in words.iter_mut().zip(self.block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for t in 16..64 {
            let (early, late) = (words[t - 15], words[t - 2]);
            let first = early.rotate_right(7) ^ early.rotate_right(18) ^ early >> 3;
            let second = late.rotate_right(17) ^ late.rotate_right(19) ^ late >> 10;
            words[t] = words[t - 16].wrapping_add(first).wrapping_add(words[t - 7]).wrapping_add(second);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = self.state;
        for (word, constant) in words.into_iter().zip(CONSTANTS) {
            let turned = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let chosen = e & f ^ !e & g;
            let first = h.wrapping_add(turned).wrapping_add(chosen).wrapping_add(constant).wrapping_add(word);
            let turned = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let second = turned.wrapping_add(a & b ^ a & c ^ b & c);
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(first), c, b, a, first.wrapping_add(second));
        }
        for (sum, word) in self.state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = sum.wrapping_add(word);
        }
    }
}
