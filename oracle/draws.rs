//! Numbers as NumPy draws them: PCG64 (O'Neill 2014, XSL-RR) and normal ones by a ziggurat of 256 layers (Marsaglia and
//! Tsang 2000).

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

pub struct Pcg64 {
    pub state: u128,
    pub increment: u128,
}

impl Pcg64 {
    fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
        let mixed = (self.state >> 64) as u64 ^ self.state as u64;
        mixed.rotate_right((self.state >> 122) as u32)
    }

    fn share(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Ends of the layers, x[0] of the lowest and then from x[1], the narrowest, to x[255], from which the tail begins.
pub struct Ziggurat<'a>(pub &'a [f64; 256]);

impl Ziggurat<'_> {
    fn height(&self, layer: usize) -> f64 {
        if layer == 0 { 1.0 } else { (-0.5 * self.0[layer] * self.0[layer]).exp() }
    }

    /// The share of a layer that lies below the curve as a whole.
    fn inner(&self, layer: usize) -> f64 {
        match layer {
            0 => self.0[255] / self.0[0],
            1 => 0.0,
            _ => self.0[layer - 1] / self.0[layer],
        }
    }

    pub fn normal(&self, random: &mut Pcg64) -> f64 {
        loop {
            let word = random.word();
            let layer = (word & 255) as usize;
            // NumPy has the sign of the tail from another bit.
            let signed = |x: f64, bit: u32| if word >> bit & 1 == 1 { -x } else { x };
            let share = (word >> 9 & ((1 << 52) - 1)) as f64 / (1_u64 << 52) as f64;
            let x = share * self.0[layer];
            if share < self.inner(layer) {
                return signed(x, 8);
            }
            if layer == 0 {
                return signed(self.tail(random), 17);
            }
            let (upper, lower) = (self.height(layer - 1), self.height(layer));
            if (upper - lower) * random.share() + lower < (-0.5 * x * x).exp() {
                return signed(x, 8);
            }
        }
    }

    /// Marsaglia's method for what lies beyond x[255].
    fn tail(&self, random: &mut Pcg64) -> f64 {
        let start = self.0[255];
        loop {
            let x = -(-random.share()).ln_1p() / start;
            let y = -(-random.share()).ln_1p();
            if y + y > x * x {
                return start + x;
            }
        }
    }
}
