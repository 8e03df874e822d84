//! Dropout, by Philox4x32-10 (Salmon et al. 2011).

use crate::stream::{require, Outcome, Request, Tensor};

/// Rounds with the words of the key, which grow by these two after each.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let product = |factor: u32, word: u32| {
            let product = u64::from(factor) * u64::from(word);
            ((product >> 32) as u32, product as u32)
        };
        let (high, low) = (product(0xcd9e_8d57, counter[2]), product(0xd251_1f53, counter[0]));
        counter = [high.0 ^ counter[1] ^ key[0], high.1, low.0 ^ counter[3] ^ key[1], low.1];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

fn words(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

/// Four words for a counter and a key of two numbers each, by themselves.
pub fn draw(request: &Request) -> Outcome<Vec<Tensor>> {
    let [first, second, key]: [usize; 3] = request.sizes("numbers")?;
    let ([a, b], [c, d]) = (words(first as u64), words(second as u64));
    let drawn = philox([a, b, c, d], words(key as u64));
    Ok(vec![Tensor::f64("words", &[4], &drawn.map(f64::from))])
}

pub fn dropout(request: &Request) -> Outcome<Vec<Tensor>> {
    let shape = request.any_shape(0)?.to_vec();
    let values = request.f32(0, &shape)?;
    let images = request.i64(1, &shape[..1])?;
    let (share, of_channels) = (request.float("share")?, request.number("channels")? == 1);
    require(shape.len() > 1 || !of_channels, "there are no channels")?;
    let (limit, key) = ((share * 4_294_967_296.0) as u64, words(request.number("key")? as u64));
    let scale = (1.0 / (1.0 - share)) as f32;
    let length = values.len() / shape[0];
    let element = |place: usize| {
        if of_channels {
            place / (length / shape[1])
        } else if shape.len() == 4 {
            let positions = shape[2] * shape[3];
            place % positions * shape[1] + place / positions
        } else {
            place
        }
    };
    let result = values.iter().enumerate().map(|(index, value)| {
        let (image, element) = (images[index / length] as u64, element(index % length) as u64);
        let ([a, b], [c, d]) = (words(element / 4), words(image));
        let word = philox([a, b, c, d], key)[(element % 4) as usize];
        value * if u64::from(word) < limit { 0.0 } else { scale }
    });
    Ok(vec![Tensor::f32("result", &shape, &result.collect::<Vec<f32>>())])
}
