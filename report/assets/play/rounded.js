"use strict";

// A generator in 8 bits a weight, as the play page holds it. Nothing here knows of the page.

/** A generator whose weights are whole numbers from -127 to 127, each times the scale of the unit that it leads to. */
class RoundedGenerator extends Generator {
  /** Of each layer the bytes hold the whole numbers, input by input, then scales and biases of 32 bits. */
  reader(bytes) {
    const view = new DataView(bytes);
    let offset = 0;
    const take = (count) => {
      const numbers = Float32Array.from({ length: count }, (_, i) => view.getFloat32(offset + 4 * i, true));
      offset += 4 * count;
      return numbers;
    };
    return (inputs, outputs) => {
      const steps = new Int8Array(bytes, offset, inputs * outputs);
      offset += inputs * outputs;
      const scales = take(outputs);
      const weights = Float32Array.from(steps, (step, place) => step * scales[place % outputs]);
      return { weights, biases: take(outputs) };
    };
  }
}
