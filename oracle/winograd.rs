//! Convolutions of 3 x 3 weights by fewer products (Winograd 1980, Lavin and Gray 2016).

use crate::convolution::Kernel;
use crate::fused;
use crate::maps::{place, Maps};
use crate::sums::{cut_sums, fma_to, SECTION};
use std::ops::{Add, Mul, Neg, Range, Sub};

/// Cuts of the sum over channels and of the sum over tiles.
pub const CHANNELS: [usize; 2] = [64, 16];
const TILES: [usize; 2] = [SECTION, 8];

/// A float32, or several side by side.
pub trait Value: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Neg<Output = Self> {
    fn of(value: f32) -> Self;

    /// self x factor + sum, rounded once.
    fn fma(self, factor: Self, sum: Self) -> Self;
}

impl Value for f32 {
    fn of(value: f32) -> f32 {
        value
    }

    fn fma(self, factor: f32, sum: f32) -> f32 {
        fused::fma(self, factor, sum)
    }
}

/// What functions take and give along an axis; the places that a function does not use are 0.
type Line<T> = [T; 6];

/// Tiles of `m` results from `n` products, looking at `seen` values.
#[derive(Clone, Copy)]
pub struct Scheme<T> {
    pub m: usize,
    pub n: usize,
    pub seen: usize,
    pub values: fn(Line<T>) -> Line<T>,
    pub weights: fn(Line<T>) -> Line<T>,
    pub results: fn(Line<T>) -> Line<T>,
}

impl<T: Value> Scheme<T> {
    const TWO: Self = Self { m: 2, n: 4, seen: 4, values: two_values, weights: two_weights, results: two_results };
    const FOUR: Self = Self { m: 4, n: 6, seen: 6, values: four_values, weights: four_weights, results: four_results };
    const PAIR: Self = Self { m: 2, n: 3, seen: 2, values: pair_values, weights: pair_weights, results: pair_results };
}

/// The constants of scheme four. Products of A and B are exact.
const A: f32 = 0.625;
const B: f32 = 1.5;
const AT_0: f32 = 0x1234568 as f32 / (1 << 24) as f32; // 0x1.234568p+0
const AT_A: f32 = -(0x1607668 as f32 / (1 << 25) as f32); // -0x1.607668p-1
const AT_B: f32 = 0x1e98802 as f32 / (1 << 28) as f32; // 0x1.e98802p-4

fn fma<T: Value>(a: f32, b: T, c: T) -> T {
    T::of(a).fma(b, c)
}

fn times<T: Value>(a: f32, b: T) -> T {
    T::of(a) * b
}

/// The values, and zeros behind them.
fn line<T: Value, const K: usize>(values: [T; K]) -> Line<T> {
    let mut line = [T::of(0.0); 6];
    line[..K].copy_from_slice(&values);
    line
}

fn two_values<T: Value>(d: Line<T>) -> Line<T> {
    line([d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]])
}

fn two_weights<T: Value>(g: Line<T>) -> Line<T> {
    line([g[0], times(0.5, (g[0] + g[2]) + g[1]), times(0.5, (g[0] + g[2]) - g[1]), g[2]])
}

fn two_results<T: Value>(m: Line<T>) -> Line<T> {
    line([(m[0] + m[1]) + m[2], (m[1] - m[2]) - m[3]])
}

fn two_gradient<T: Value>(e: Line<T>) -> Line<T> {
    line([e[0], e[0] + e[1], e[0] - e[1], -e[1]])
}

fn two_sums<T: Value>(s: Line<T>) -> Line<T> {
    line([fma(0.5, s[1] + s[2], s[0]), times(0.5, s[1] - s[2]), fma(0.5, s[1] + s[2], s[3])])
}

fn four_values<T: Value>(d: Line<T>) -> Line<T> {
    let (u_a, v_a) = (fma(-(B * B), d[2], d[4]), fma(-(B * B), d[1], d[3]));
    let (u_b, v_b) = (fma(-(A * A), d[2], d[4]), fma(-(A * A), d[1], d[3]));
    line([
        fma(A * A * B * B, d[0], fma(-(A * A + B * B), d[2], d[4])),
        fma(A, v_a, u_a),
        fma(-A, v_a, u_a),
        fma(B, v_b, u_b),
        fma(-B, v_b, u_b),
        fma(A * A * B * B, d[1], fma(-(A * A + B * B), d[3], d[5])),
    ])
}

fn four_weights<T: Value>(g: Line<T>) -> Line<T> {
    let (u_a, u_b) = (fma(A * A, g[2], g[0]), fma(B * B, g[2], g[0]));
    line([
        times(AT_0, g[0]),
        times(AT_A, fma(A, g[1], u_a)),
        times(AT_A, fma(-A, g[1], u_a)),
        times(AT_B, fma(B, g[1], u_b)),
        times(AT_B, fma(-B, g[1], u_b)),
        g[2],
    ])
}

fn four_results<T: Value>(m: Line<T>) -> Line<T> {
    line([
        (m[0] + (m[1] + m[2])) + (m[3] + m[4]),
        fma(B, m[3] - m[4], times(A, m[1] - m[2])),
        fma(B * B, m[3] + m[4], times(A * A, m[1] + m[2])),
        fma(B * B * B, m[3] - m[4], fma(A * A * A, m[1] - m[2], m[5])),
    ])
}

fn pair_values<T: Value>(d: Line<T>) -> Line<T> {
    line([d[0] + d[1], d[1], d[0]])
}

fn pair_weights<T: Value>(g: Line<T>) -> Line<T> {
    line([g[1], g[2] - g[1], g[0] - g[1]])
}

fn pair_results<T: Value>(m: Line<T>) -> Line<T> {
    line([m[0] + m[1], m[0] + m[2]])
}

/// Turns tiles, one a lane (a channel, an output or a pair of them): a function along the columns of every row, then
/// one along the rows of what that gives. `read` gives what is at a place of a lane's tile, `write` takes what becomes.
pub fn turn<T: Value>(
    [along_rows, along_columns]: [fn(Line<T>) -> Line<T>; 2],
    [from, to]: [[usize; 2]; 2],
    lanes: usize,
    read: impl Fn(usize, [usize; 2]) -> T,
    mut write: impl FnMut(usize, [usize; 2], T),
) {
    for lane in 0..lanes {
        let mut rows = [[T::of(0.0); 6]; 6];
        for (row, line) in rows.iter_mut().enumerate().take(from[0]) {
            (0..from[1]).for_each(|column| line[column] = read(lane, [row, column]));
            *line = along_columns(*line);
        }
        for column in 0..to[1] {
            let line = along_rows(rows.map(|row| row[column]));
            (0..to[0]).for_each(|row| write(lane, [row, column], line[row]));
        }
    }
}

/// Result r sees the values at r + t, r + t + 1 and r + t + 2.
#[derive(Clone, Copy)]
pub struct Axis {
    results: usize,
    values: usize,
    t: isize,
}

impl Axis {
    /// Rows and columns.
    pub fn both(results: [usize; 2], values: [usize; 2], t: [isize; 2]) -> [Axis; 2] {
        [0, 1].map(|axis| Axis { results: results[axis], values: values[axis], t: t[axis] })
    }

    /// Products of the direct sum: pairs of a result and a tap inside of the values.
    fn direct_products(self) -> usize {
        let seen = (0..self.results).flat_map(|result| (0..3).map(move |tap| result as isize + self.t + tap));
        seen.filter(|&value| value >= 0 && value < self.values as isize).count()
    }

    fn is_pair(self) -> bool {
        self.results == 2 && self.values == 2 && self.t == -1
    }

    pub fn tiles<T>(self, scheme: Scheme<T>) -> usize {
        (self.results + scheme.m - 1) / scheme.m
    }

    /// The first value of tile i.
    pub fn first<T>(self, scheme: Scheme<T>, i: usize) -> isize {
        if scheme.n == Scheme::<f32>::PAIR.n { 0 } else { (scheme.m * i) as isize + self.t }
    }
}

fn products<T: Value>(schemes: [Scheme<T>; 2], axes: [Axis; 2]) -> usize {
    schemes[0].n * axes[0].tiles(schemes[0]) * schemes[1].n * axes[1].tiles(schemes[1])
}

/// Whether the products are few enough beside those of the direct sum.
fn are_fewer<T: Value>(schemes: [Scheme<T>; 2], axes: [Axis; 2]) -> bool {
    4 * products(schemes, axes) <= 3 * axes[0].direct_products() * axes[1].direct_products()
}

/// The schemes along rows and columns for the output and the gradient of the maps, if not the direct sum. N channels
/// are summed over, and there are M others.
pub fn choice<T: Value>(axes: [Axis; 2], n: usize, m: usize) -> Option<[Scheme<T>; 2]> {
    let [two, four, pair] = [Scheme::TWO, Scheme::FOUR, Scheme::PAIR];
    let candidates = [
        (true, [two, two]),
        (axes[0].is_pair() && axes[1].is_pair(), [pair, pair]),
        (n >= 64, [two, four]),
        (n >= 512, [four, four]),
    ];
    let allowed = candidates.into_iter().filter(|&(is_allowed, _)| is_allowed && n >= 32 && m >= 16);
    // Of equal ones, min_by_key gives the first.
    let fewest = allowed.map(|(_, schemes)| schemes).min_by_key(|&schemes| products(schemes, axes));
    fewest.filter(|&schemes| are_fewer(schemes, axes))
}

/// Whether the gradient of the weights, of N channels and M outputs, is computed by two and two.
pub fn has_weight_gradient(axes: [Axis; 2], n: usize, m: usize) -> bool {
    n >= 64 && m >= 64 && axes[0].results * axes[1].results >= 64 && are_fewer([Scheme::<f32>::TWO; 2], axes)
}

/// The value at (row, column) of the tile that begins at `first`; 0 outside of the map.
fn value(maps: &Maps, image: usize, first: [isize; 2], [row, column]: [usize; 2], channel: usize) -> f32 {
    let position = maps.inside(image, [first[0] + row as isize, first[1] + column as isize]);
    position.map_or(0.0, |position| maps.at(position)[channel])
}

/// The output or the gradient of the maps.
pub struct Winograd {
    schemes: [Scheme<f32>; 2],
    axes: [Axis; 2],
    /// [point][input][output]
    weight: Vec<f32>,
}

impl Winograd {
    /// None if the convolution is computed directly.
    pub fn new(kernel: &Kernel, axes: [Axis; 2]) -> Option<Winograd> {
        let schemes = choice(axes, kernel.inputs, kernel.outputs)?;
        let pairs = kernel.inputs * kernel.outputs;
        let n = schemes.map(|scheme| scheme.n);
        let mut weight = vec![0.0; n[0] * n[1] * pairs];
        let read = |pair: usize, [row, column]: [usize; 2]| kernel.weight[(row * 3 + column) * pairs + pair];
        turn(schemes.map(|scheme| scheme.weights), [[3, 3], n], pairs, read, |pair, [row, column], value| {
            weight[(row * n[1] + column) * pairs + pair] = value;
        });
        Some(Winograd { schemes, axes, weight })
    }

    /// The results of an image.
    pub fn results(&self, maps: &Maps, image: usize, bias: &Option<Vec<f32>>, results: &mut Maps) {
        let (schemes, axes) = (self.schemes, self.axes);
        let (n, m) = (schemes.map(|scheme| scheme.n), schemes.map(|scheme| scheme.m));
        let grid = [0, 1].map(|axis| axes[axis].tiles(schemes[axis]));
        let (tiles, inputs, outputs) = (grid[0] * grid[1], maps.channels, results.channels);

        let mut values = vec![0.0; n[0] * n[1] * tiles * inputs];
        for tile in 0..tiles {
            let i = place(tile, grid[1]);
            let first = [0, 1].map(|axis| axes[axis].first(schemes[axis], i[axis]));
            let read = |input, place| value(maps, image, first, place, input);
            let sizes = [schemes.map(|scheme| scheme.seen), n];
            turn(schemes.map(|scheme| scheme.values), sizes, inputs, read, |input, [row, column], value| {
                values[((row * n[1] + column) * tiles + tile) * inputs + input] = value;
            });
        }
        let mut sums = Vec::with_capacity(n[0] * n[1] * tiles * outputs);
        for (index, values) in values.chunks_exact(inputs).enumerate() {
            let weight = &self.weight[index / tiles * inputs * outputs..];
            sums.extend(cut_sums(0..inputs, CHANNELS, outputs, |input, part| {
                fma_to(part, values[input], &weight[input * outputs..]);
            }));
        }
        for tile in 0..tiles {
            let i = place(tile, grid[1]);
            let read = |output: usize, [row, column]: [usize; 2]| {
                sums[((row * n[1] + column) * tiles + tile) * outputs + output]
            };
            turn(schemes.map(|scheme| scheme.results), [n, m], outputs, read, |output, [row, column], result| {
                let at = [(i[0] * m[0] + row) as isize, (i[1] * m[1] + column) as isize];
                if let Some(position) = results.inside(image, at) {
                    results.at_mut(position)[output] = bias.as_ref().map_or(result, |bias| result + bias[output]);
                }
            });
        }
    }
}

/// The gradient of the weights of a leaf, as [row][column][channel][output].
pub fn weight_gradient(maps: &Maps, gradient: &Maps, images: Range<usize>, axes: [Axis; 2]) -> Vec<f32> {
    let grid = axes.map(|axis| axis.tiles(Scheme::<f32>::TWO));
    let tiles = grid[0] * grid[1] * images.len();
    let (channels, outputs) = (maps.channels, gradient.channels);
    let (mut values, mut gradients) = (vec![0.0; 16 * tiles * channels], vec![0.0; 16 * tiles * outputs]);
    for tile in 0..tiles {
        let image = images.start + tile / (grid[0] * grid[1]);
        let i = place(tile % (grid[0] * grid[1]), grid[1]);
        let first = [0, 1].map(|axis| axes[axis].first(Scheme::<f32>::TWO, i[axis]));
        let read = |channel, place| value(maps, image, first, place, channel);
        turn([two_values; 2], [[4, 4]; 2], channels, read, |channel, [row, column], value| {
            values[((row * 4 + column) * tiles + tile) * channels + channel] = value;
        });
        let read = |output, place| value(gradient, image, i.map(|i| 2 * i as isize), place, output);
        turn([two_gradient; 2], [[2, 2], [4, 4]], outputs, read, |output, [row, column], value| {
            gradients[((row * 4 + column) * tiles + tile) * outputs + output] = value;
        });
    }
    let mut sums = Vec::with_capacity(16 * channels * outputs);
    for (point, channel) in (0..16).flat_map(|point| (0..channels).map(move |channel| (point, channel))) {
        sums.extend(cut_sums(0..tiles, TILES, outputs, |tile, part| {
            let row = point * tiles + tile;
            fma_to(part, values[row * channels + channel], &gradients[row * outputs..]);
        }));
    }
    let pairs = channels * outputs;
    let mut result = vec![0.0; 9 * pairs];
    let read = |pair: usize, [row, column]: [usize; 2]| sums[(row * 4 + column) * pairs + pair];
    turn([two_sums; 2], [[4, 4], [3, 3]], pairs, read, |pair, [row, column], value| {
        result[(row * 3 + column) * pairs + pair] = value;
    });
    result
}
