//! Direct sums of a convolution, many results at a time: as convolution.rs has them, with weights in blocks of lanes.

use crate::convolution::{EXACT, SEGMENT};
use crate::lanes::{chain, has_ties, no_ties, Exact, Extent, Lanes, Near, Odd, Rounding};
use crate::layer::Shape;
use crate::sums::{add_to, part_length};
use std::arch::wasm32::{f64x2_splat, v128};
use std::ops::Range;

/// Steps in order whose values lie side by side.
struct Run {
    step: usize,
    /// The place of the first value, from that of the result.
    value: usize,
    length: usize,
}

struct Part {
    runs: Range<usize>,
    ends_segment: bool,
}

/// The steps of a sum, cut into segments and parts; those without a step are left out.
pub struct Plan {
    runs: Vec<Run>,
    parts: Vec<Part>,
}

impl Plan {
    /// `steps` gives the number of each step and the place of its value.
    pub fn new(steps: impl Iterator<Item = (usize, usize)>, [segment, part]: [usize; 2]) -> Plan {
        let (mut runs, mut parts): (Vec<Run>, Vec<Part>) = (Vec::new(), Vec::new());
        let mut last = None;
        for (step, value) in steps {
            if last.is_none_or(|last| step / part != last / part) {
                if let (Some(before), Some(last)) = (parts.last_mut(), last) {
                    before.ends_segment = step / segment != last / segment;
                }
                parts.push(Part { runs: runs.len()..runs.len(), ends_segment: true });
            }
            let part = &mut parts.last_mut().unwrap().runs;
            match runs.last_mut() {
                Some(run) if part.start < part.end && [run.step, run.value].map(|at| at + run.length) == [step, value] => {
                    run.length += 1;
                }
                _ => {
                    runs.push(Run { step, value, length: 1 });
                    part.end += 1;
                }
            }
            last = Some(step);
        }
        Plan { runs, parts }
    }

    /// The chain over the runs of a part; the values of the result begin at `at`.
    #[inline(never)]
    fn chain<R: Rounding, const Q: usize>(&self, part: &Part, sums: &mut [[v128; 2]; Q], terms: &Terms, at: usize) -> v128 {
        let mut ties = no_ties();
        for run in &self.runs[part.runs.clone()] {
            let values = &terms.values[at.wrapping_add(run.value)..][..run.length];
            chain::<R, Q>(sums, values, &terms.weights[run.step * 4 * Q..][..run.length * 4 * Q], &mut ties);
        }
        ties
    }

    /// A chain in double from `start`, rounded once.
    pub fn exact_sum<const Q: usize>(&self, terms: &Terms, at: usize, start: [Lanes; Q]) -> [Lanes; Q] {
        let mut sums = start.map(Lanes::doubles);
        for part in &self.parts {
            self.chain::<Exact, Q>(part, &mut sums, terms, at);
        }
        sums.map(Lanes::of_doubles)
    }

    /// The sum cut into segments, of which the first begins from `start`.
    pub fn cut_sum<const Q: usize>(&self, terms: &Terms, at: usize, start: [Lanes; Q]) -> [Lanes; Q] {
        let zeros = [[f64x2_splat(0.0); 2]; Q];
        let (mut result, mut of_segment, mut is_first) = (start, start, true);
        for part in &self.parts {
            let mut sums = zeros;
            if !terms.is_near || has_ties(self.chain::<Near, Q>(part, &mut sums, terms, at)) {
                sums = zeros;
                self.chain::<Odd, Q>(part, &mut sums, terms, at);
            }
            add_to(&mut of_segment, &sums.map(Lanes::of_doubles));
            if part.ends_segment {
                if is_first {
                    result = of_segment;
                } else {
                    add_to(&mut result, &of_segment);
                }
                (of_segment, is_first) = ([Lanes::splat(0.0); Q], false);
            }
        }
        result
    }
}

/// What is multiplied: values, and a block of weights [step][lane].
pub struct Terms<'a> {
    pub values: &'a [f64],
    pub weights: &'a [f32],
    /// Whether `Near` is right for them.
    pub is_near: bool,
}

/// Results along an axis that have the same taps inside of the map.
pub struct Class {
    pub results: Range<usize>,
    pub taps: Range<usize>,
}

pub fn classes(shape: &Shape, axis: usize) -> Vec<Class> {
    let mut classes: Vec<Class> = Vec::new();
    for result in 0..shape.results[axis] {
        let first = shape.geometry.seen([result; 2], [0, 0])[axis];
        let inside = |place: usize| (place as isize - first).clamp(0, shape.kernel[axis] as isize) as usize;
        let taps = inside(0)..inside(shape.size[axis]);
        match classes.last_mut() {
            Some(class) if class.taps == taps => class.results.end += 1,
            _ => classes.push(Class { results: result..result + 1, taps }),
        }
    }
    classes
}

/// Weights of a convolution, in blocks of 4 Q outputs of a group: [group][block][step][lane].
pub struct Direct<const Q: usize> {
    weights: Vec<f32>,
    extent: Extent,
}

impl<const Q: usize> Direct<Q> {
    /// `weights` are [output][channel of the group][tap].
    pub fn new(shape: &Shape, weights: &[f32]) -> Direct<Q> {
        let (inputs, taps, of_group) = (shape.inputs(), shape.taps(), shape.outputs / shape.groups());
        let mut ordered = vec![0.0; shape.groups() * blocks::<Q>(of_group) * taps * inputs * 4 * Q];
        for (output, weights) in weights.chunks_exact(inputs * taps).enumerate() {
            let (group, place) = (output / of_group, output % of_group);
            let first = (group * blocks::<Q>(of_group) + place / (4 * Q)) * taps * inputs * 4 * Q + place % (4 * Q);
            for (index, &weight) in weights.iter().enumerate() {
                let step = index % taps * inputs + index / taps;
                ordered[first + step * 4 * Q] = weight;
            }
        }
        Direct { weights: ordered, extent: Extent::of(weights) }
    }

    #[inline(never)]
    pub fn apply(&self, shape: &Shape, maps: &[f32], bias: Option<&[f32]>, results: &mut [f32]) {
        let values: Vec<f64> = maps.iter().map(|&value| f64::from(value)).collect();
        let is_near = self.extent.suits(Extent::of(maps));
        let (n, inputs, of_group) = (shape.taps() * shape.inputs(), shape.inputs(), shape.outputs / shape.groups());
        let cuts = if n <= EXACT { [usize::MAX; 2] } else { [SEGMENT, part_length(n)] };
        let [rows, columns] = [0, 1].map(|axis| classes(shape, axis));
        for (rows, columns) in rows.iter().flat_map(|rows| columns.iter().map(move |columns| (rows, columns))) {
            let plan = Plan::new(steps(shape, rows, columns), cuts);
            for (block, weights) in self.weights.chunks_exact(n * 4 * Q).enumerate() {
                let (group, block) = (block / blocks::<Q>(of_group), block % blocks::<Q>(of_group));
                let outputs = group * of_group + block * 4 * Q..(group + 1) * of_group;
                let start = bias.map_or([Lanes::splat(0.0); Q], |bias| load(&bias[outputs.clone()]));
                let terms = Terms { values: &values, weights, is_near };
                for position in rows.results.clone().flat_map(|row| columns.results.clone().map(move |column| [row, column])) {
                    let [row, column] = shape.geometry.seen(position, [0, 0]);
                    let first = (row * shape.size[1] as isize + column) * shape.channels as isize;
                    let at = (first as usize).wrapping_add(group * inputs);
                    let sums = if n <= EXACT { plan.exact_sum(&terms, at, start) } else { plan.cut_sum(&terms, at, start) };
                    let position = position[0] * shape.results[1] + position[1];
                    store(sums, &mut results[position * shape.outputs..][outputs.clone()]);
                }
            }
        }
    }
}

/// The number and place of each step whose tap lies inside of the map.
fn steps<'a>(shape: &'a Shape, rows: &'a Class, columns: &'a Class) -> impl Iterator<Item = (usize, usize)> + 'a {
    let taps = rows.taps.clone().flat_map(|row| columns.taps.clone().map(move |column| [row, column]));
    taps.flat_map(move |[row, column]| {
        let (tap, position) = (row * shape.kernel[1] + column, row * shape.size[1] + column);
        (0..shape.inputs()).map(move |input| (tap * shape.inputs() + input, position * shape.channels + input))
    })
}

pub fn blocks<const Q: usize>(outputs: usize) -> usize {
    outputs.div_ceil(4 * Q)
}

/// Up to 4 Q values.
pub fn load<const Q: usize>(values: &[f32]) -> [Lanes; Q] {
    let mut quads = values.chunks(4);
    [(); Q].map(|_| Lanes::load(quads.next().unwrap_or(&[])))
}

pub fn store<const Q: usize>(lanes: [Lanes; Q], values: &mut [f32]) {
    values.chunks_mut(4).zip(lanes).for_each(|(values, lanes)| lanes.store(values));
}
