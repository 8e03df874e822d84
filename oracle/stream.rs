//! Requests and answers: a line of ASCII, then tensors, each a line and its values in little-endian order.

use std::collections::HashMap;
use std::io::{BufRead, Read, Write};

pub type Outcome<T> = Result<T, String>;

pub struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

pub struct Request {
    pub operation: String,
    keys: HashMap<String, String>,
    inputs: Vec<Tensor>,
}

impl Tensor {
    pub fn f32(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor { name: name.to_string(), dtype: "f32".to_string(), shape: shape.to_vec(), bytes }
    }

    pub fn f64(name: &str, shape: &[usize], values: &[f64]) -> Tensor {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor { name: name.to_string(), dtype: "f64".to_string(), shape: shape.to_vec(), bytes }
    }

    fn read(input: &mut impl BufRead) -> Outcome<Tensor> {
        let line = read_line(input)?.ok_or("the input ends before a tensor")?;
        let words: Vec<String> = line.split_ascii_whitespace().map(str::to_string).collect();
        let [name, dtype, sizes]: [String; 3] =
            words.try_into().map_err(|_| format!("the line of a tensor is not `name dtype shape`: {line}"))?;
        let width = match dtype.as_str() {
            "f32" => 4,
            "f64" | "i64" => 8,
            other => return Err(format!("the dtype {other} is not f32, f64 or i64")),
        };
        let shape = list(&sizes)?;
        let length = shape.iter().try_fold(width, |product: usize, &size| product.checked_mul(size));
        let length = length.filter(|&length| length > 0).ok_or(format!("the shape {sizes} cannot be used"))?;
        let mut bytes = Vec::new();
        input.take(length as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        require(bytes.len() == length, &format!("the input ends within the tensor {name}"))?;
        Ok(Tensor { name, dtype, shape, bytes })
    }
}

impl Request {
    /// The next request, or None at the end of input.
    pub fn read(input: &mut impl BufRead) -> Outcome<Option<Request>> {
        let line = match read_line(input)? {
            Some(line) => line,
            None => return Ok(None),
        };
        let mut words = line.split_ascii_whitespace();
        let operation = words.next().ok_or("the line of a request is empty")?.to_string();
        let mut keys = HashMap::new();
        for word in words {
            let (key, value) = word.split_once('=').ok_or(format!("{word} is not `key=value`"))?;
            keys.insert(key.to_string(), value.to_string());
        }
        let mut request = Request { operation, keys, inputs: Vec::new() };
        for _ in 0..request.number("inputs")? {
            request.inputs.push(Tensor::read(input)?);
        }
        Ok(Some(request))
    }

    pub fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    pub fn word(&self, key: &str) -> Outcome<&str> {
        self.keys.get(key).map(String::as_str).ok_or(format!("the key {key} is missing"))
    }

    pub fn sizes<const K: usize>(&self, key: &str) -> Outcome<[usize; K]> {
        list(self.word(key)?)?.try_into().map_err(|_| format!("the key {key} does not have {K} numbers"))
    }

    pub fn number(&self, key: &str) -> Outcome<usize> {
        self.sizes(key).map(|[number]| number)
    }

    /// A float is written as the hexadecimal bits of a double.
    pub fn float(&self, key: &str) -> Outcome<f64> {
        let bits = u64::from_str_radix(self.word(key)?, 16);
        bits.map(f64::from_bits).map_err(|_| format!("the key {key} is not the hexadecimal bits of a double"))
    }

    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    fn input(&self, index: usize) -> Outcome<&Tensor> {
        self.inputs.get(index).ok_or(format!("input {index} is missing"))
    }

    pub fn any_shape(&self, index: usize) -> Outcome<&[usize]> {
        Ok(&self.input(index)?.shape)
    }

    pub fn shape<const K: usize>(&self, index: usize) -> Outcome<[usize; K]> {
        let tensor = self.input(index)?;
        tensor.shape.as_slice().try_into().map_err(|_| format!("the tensor {} does not have {K} axes", tensor.name))
    }

    /// The values of an input that must have this index, dtype and shape.
    fn values<T, const W: usize>(&self, wanted: (usize, &str, &[usize]), decode: fn([u8; W]) -> T) -> Outcome<Vec<T>> {
        let (index, dtype, shape) = wanted;
        let tensor = self.input(index)?;
        let reason = format!("the tensor {} is not {dtype} of shape {shape:?}", tensor.name);
        require(tensor.dtype == dtype && tensor.shape == shape, &reason)?;
        Ok(tensor.bytes.chunks_exact(W).map(|bytes| decode(bytes.try_into().unwrap())).collect())
    }

    pub fn f32(&self, index: usize, shape: &[usize]) -> Outcome<Vec<f32>> {
        self.values((index, "f32", shape), f32::from_le_bytes)
    }

    pub fn f64(&self, index: usize, shape: &[usize]) -> Outcome<Vec<f64>> {
        self.values((index, "f64", shape), f64::from_le_bytes)
    }

    pub fn i64(&self, index: usize, shape: &[usize]) -> Outcome<Vec<i64>> {
        self.values((index, "i64", shape), i64::from_le_bytes)
    }

    /// The labels of images, each below `classes`.
    pub fn labels(&self, index: usize, images: usize, classes: usize) -> Outcome<Vec<usize>> {
        let labels = self.i64(index, &[images])?;
        require(labels.iter().all(|&label| (0..classes as i64).contains(&label)), "a label is not that of a class")?;
        Ok(labels.into_iter().map(|label| label as usize).collect())
    }
}

/// An error with this reason if the condition does not hold.
pub fn require(condition: bool, reason: &str) -> Outcome<()> {
    condition.then_some(()).ok_or_else(|| reason.to_string())
}

pub fn write(output: &mut impl Write, tensors: &[Tensor]) -> std::io::Result<()> {
    writeln!(output, "ok outputs={}", tensors.len())?;
    for tensor in tensors {
        let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        writeln!(output, "{} {} {}", tensor.name, tensor.dtype, shape.join(","))?;
        output.write_all(&tensor.bytes)?;
    }
    output.flush()
}

fn read_line(input: &mut impl BufRead) -> Outcome<Option<String>> {
    let mut line = Vec::new();
    input.take(4096).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    if line.is_empty() {
        return Ok(None);
    }
    let is_whole = line.pop() == Some(b'\n') && line.is_ascii();
    require(is_whole, "a line of the input is too long, is not ASCII or does not end")?;
    Ok(Some(line.into_iter().map(char::from).collect()))
}

fn list(text: &str) -> Outcome<Vec<usize>> {
    text.split(',').map(|number| number.parse().map_err(|_| format!("{text} is not a list of numbers"))).collect()
}
