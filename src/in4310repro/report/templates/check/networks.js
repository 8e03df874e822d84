// The networks that this page knows, each as a list of operations made from config.json's `model` and the shapes of
// the tensors.

const ACTIVATIONS = { none: 0, relu: 1, relu6: 2, sumRelu: 3 };
const RESNET_BLOCKS = {
  resnet18: [2, 2, 2, 2],
  resnet34: [3, 4, 6, 3],
  resnet50: [3, 4, 6, 3],
  resnet101: [3, 4, 23, 3],
  resnet152: [3, 8, 36, 3],
};
// Expansion, channels, blocks, stride of the first: Table 2 of MobileNetV2 (Sandler et al. 2018).
const MOBILE_STAGES = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
];
// Kernel, stride of the first block, expansion, channels, blocks: as in models/efficientnet.py.
const LITE_STAGES = [
  [3, 1, 1, 16, 1],
  [3, 2, 6, 24, 2],
  [5, 2, 6, 40, 2],
  [3, 2, 6, 80, 3],
  [5, 1, 6, 112, 3],
  [5, 2, 6, 192, 4],
  [3, 1, 6, 320, 1],
];

/** A list of operations in the making. Each tensor is taken once, and its shape has to fit the maps that it meets. */
class NetworkBuilder {
  constructor(tensors, epsilon) {
    this.untaken = new Map(tensors);
    this.epsilon = epsilon;
    this.operations = [];
    this.channels = 3;
  }

  take(name, fits, expected) {
    const tensor = this.untaken.get(name);
    if (!tensor) throw new Fault("", `it has no tensor ${name} that is not used yet`);
    this.untaken.delete(name);
    const dtype = name.endsWith(".num_batches_tracked") ? "I64" : "F32";
    if (tensor.dtype !== dtype || !fits(tensor.shape)) {
      throw new Fault(
        "",
        `${name} is ${tensor.dtype} of shape (${tensor.shape.join(", ")}); ${dtype} of ${expected} is needed`,
      );
    }
    return tensor.shape;
  }

  takeShape(name, ...shape) {
    return this.take(name, found => found.join() === shape.join(), `(${shape.join(", ")})`);
  }

  /** Add a convolution; `padding` is a number of pixels at each side, or "same" for TensorFlow's. */
  convolution(name, { kernel, stride = 1, padding = (kernel - 1) / 2, depthwise = false, of = "maps" }) {
    const groups = depthwise ? this.channels : 1;
    const inner = this.channels / groups;
    const fits = ([outputs, ...rest]) =>
      rest.join() === [inner, kernel, kernel].join() && outputs > 0 && outputs % groups === 0;
    const [outputs] = this.take(`${name}.weight`, fits, `(outputs, ${inner}, ${kernel}, ${kernel})`);
    this.operations.push({
      kind: "convolution",
      weight: `${name}.weight`,
      outputs,
      kernel,
      stride,
      padding,
      groups,
      of,
    });
    this.channels = outputs;
  }

  norm(name, activation, of = "maps") {
    for (const each of ["weight", "bias", "running_mean", "running_var"])
      this.takeShape(`${name}.${each}`, this.channels);
    this.takeShape(`${name}.num_batches_tracked`);
    this.operations.push({ kind: "norm", name, form: ACTIVATIONS[activation], epsilon: this.epsilon, of });
  }

  push(kind, values = {}) {
    this.operations.push({ kind, ...values });
  }

  /** Add pooling over all positions and the last layer, and return the operations. */
  finish(name, classes) {
    this.push("averagePool");
    this.takeShape(`${name}.weight`, classes, this.channels);
    this.takeShape(`${name}.bias`, classes);
    this.push("linear", { name, classes });
    const [unused] = this.untaken.keys();
    if (unused !== undefined) throw new Fault("", `the network has no tensor ${unused}`);
    return this.operations;
  }
}

function resnet(model, tensors, classes) {
  const network = new NetworkBuilder(tensors, 1e-5);
  network.convolution("conv1", { kernel: 7, stride: 2 });
  network.norm("bn1", "relu");
  network.push("maxPool", { kernel: 3, stride: 2, padding: 1 });
  const bottleneck = !["resnet18", "resnet34"].includes(model);
  RESNET_BLOCKS[model].forEach((blocks, layer) => {
    for (let block = 0; block < blocks; block += 1) {
      const name = `layer${layer + 1}.${block}`;
      const stride = layer && !block ? 2 : 1;
      const before = network.channels;
      network.push("keep");
      const kernels = bottleneck ? [1, 3, 1] : [3, 3];
      kernels.forEach((kernel, number) => {
        // torchvision's bottleneck has its stride in the convolution of 3 x 3, and the basic block in its first.
        const own = number === (bottleneck ? 1 : 0) ? stride : 1;
        network.convolution(`${name}.conv${number + 1}`, { kernel, stride: own });
        if (number < kernels.length - 1) network.norm(`${name}.bn${number + 1}`, "relu");
      });
      if (stride > 1 || before !== network.channels) {
        const after = network.channels;
        network.channels = before;
        network.convolution(`${name}.downsample.0`, { kernel: 1, stride, padding: 0, of: "kept" });
        network.norm(`${name}.downsample.1`, "none", "kept");
        if (network.channels !== after)
          throw new Fault("", `${name}.downsample.0.weight has other outputs than the block`);
      }
      network.norm(`${name}.bn${kernels.length}`, "sumRelu");
    }
  });
  return network.finish("fc", classes);
}

/** Add expansion, depth-wise convolution and projection; the input is added where shapes are equal. */
function invertedResidual(network, names, { kernel, stride, expansion, padding }) {
  const before = network.channels;
  network.push("keep");
  if (expansion > 1) {
    network.convolution(names.expand[0], { kernel: 1 });
    network.norm(names.expand[1], "relu6");
  }
  if (network.channels !== before * expansion)
    throw new Fault("", `${names.expand[0]}.weight does not have ${before * expansion} outputs`);
  network.convolution(names.depthwise[0], { kernel, stride, padding, depthwise: true });
  network.norm(names.depthwise[1], "relu6");
  network.convolution(names.project[0], { kernel: 1 });
  network.norm(names.project[1], "none");
  if (stride === 1 && before === network.channels) network.push("addKept");
}

function mobilenetV2(model, tensors, classes) {
  const network = new NetworkBuilder(tensors, 1e-5);
  network.convolution("features.0.0", { kernel: 3, stride: 2 });
  network.norm("features.0.1", "relu6");
  let number = 1;
  for (const [expansion, , blocks, first] of MOBILE_STAGES) {
    for (let block = 0; block < blocks; block += 1, number += 1) {
      const at = `features.${number}.conv`;
      const moved = expansion > 1 ? 1 : 0;
      const names = {
        expand: [`${at}.0.0`, `${at}.0.1`],
        depthwise: [`${at}.${moved}.0`, `${at}.${moved}.1`],
        project: [`${at}.${moved + 1}`, `${at}.${moved + 2}`],
      };
      invertedResidual(network, names, { kernel: 3, stride: block ? 1 : first, expansion });
    }
  }
  network.convolution(`features.${number}.0`, { kernel: 1 });
  network.norm(`features.${number}.1`, "relu6");
  return network.finish("classifier.1", classes);
}

function efficientnetLite0(model, tensors, classes) {
  const network = new NetworkBuilder(tensors, 1e-3);
  network.convolution("stem.0", { kernel: 3, stride: 2, padding: "same" });
  network.norm("stem.1", "relu6");
  let number = 0;
  for (const [kernel, first, expansion, , blocks] of LITE_STAGES) {
    for (let block = 0; block < blocks; block += 1, number += 1) {
      const stride = block ? 1 : first;
      const part = name => [`blocks.${number}.${name}.0`, `blocks.${number}.${name}.1`];
      const names = { expand: part("expand"), depthwise: part("depthwise"), project: part("project") };
      const padding = stride > 1 ? "same" : (kernel - 1) / 2;
      invertedResidual(network, names, { kernel, stride, expansion, padding });
    }
  }
  network.convolution("last.0", { kernel: 1 });
  network.norm("last.1", "relu6");
  return network.finish("classifier", classes);
}

const NETWORKS = {
  ...Object.fromEntries(Object.keys(RESNET_BLOCKS).map(name => [name, resnet])),
  mobilenet_v2: mobilenetV2,
  efficientnet_lite0: efficientnetLite0,
};

/**
 * Return the operations of a network, or null where this page does not know the network.
 *
 * A Fault says which tensor is missing, superfluous, or of another shape than the network's.
 */
function networkOperations(model, tensors, classes) {
  return Object.hasOwn(NETWORKS, model) ? NETWORKS[model](model, tensors, classes) : null;
}
