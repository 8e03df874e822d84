// Prediction of many images by several workers; which worker predicts an image has no effect on the bits.

/**
 * Predict images and hand each result to `onResult` as it comes, with the place of its image.
 *
 * @param network {kernel, weights, tensors, operations, preprocessing, classes}, copied into every worker.
 * @param images functions that resolve to {height, width, pixels, label}.
 * @param signal stops the workers.
 */
async function predictImages(network, images, onResult, signal) {
  signal.throwIfAborted();
  const source = document.getElementById("worker").textContent;
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const number = Math.max(1, Math.min(navigator.hardwareConcurrency || 1, images.length, 16));
  const workers = Array.from({ length: number }, () => new Worker(address));
  let next = 0;
  try {
    await new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      let busy = number;
      const give = async worker => {
        if (next === images.length) {
          busy -= 1;
          if (!busy) resolve();
          return;
        }
        const place = next;
        next += 1;
        const image = await images[place]();
        worker.postMessage({ place, ...image });
      };
      for (const worker of workers) {
        worker.onerror = event =>
          reject(new Obstacle(`a worker of this page failed: ${event.message || "it did not start"}`));
        worker.onmessage = ({ data }) => {
          if (data.error) reject(new Obstacle(`a worker of this page failed: ${data.error}`));
          else {
            if (!data.ready) onResult(data);
            give(worker).catch(reject);
          }
        };
        worker.postMessage(network);
      }
    });
  } finally {
    workers.forEach(worker => worker.terminate());
    URL.revokeObjectURL(address);
  }
}
