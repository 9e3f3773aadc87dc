"use strict";

// Random numbers that a seed fixes, and small networks from a number to a number. Nothing here knows of the page.

/** Uniform and normal numbers from a seed, by the public-domain generator mulberry32. */
class Random {
  constructor(seed) {
    this.state = seed | 0;
  }

  /** Uniform on [0, 1). */
  uniform() {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let bits = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), bits | 61)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Standard normal, by Box and Muller. */
  normal() {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }
}

/** 1 / (1 + exp(-a)). */
const sigmoid = (a) => 1 / (1 + Math.exp(-a));

/** Numbers that gradient descent moves, with Adam's running averages (Kingma and Ba, 2015, Algorithm 1). */
class Parameters {
  constructor(values) {
    this.values = Float64Array.from(values);
    this.gradient = new Float64Array(values.length);
    this.mean = new Float64Array(values.length);
    this.square = new Float64Array(values.length);
  }

  /** One step against the gradient, which is emptied; `update` counts from 1. */
  step(rate, update) {
    // A short memory: the other player changes the loss all the time.
    const keepMean = 0.5;
    const keepSquare = 0.99;
    const meanScale = 1 / (1 - keepMean ** update);
    const squareScale = 1 / (1 - keepSquare ** update);
    for (let i = 0; i < this.values.length; i++) {
      const slope = this.gradient[i];
      this.mean[i] += (1 - keepMean) * (slope - this.mean[i]);
      this.square[i] += (1 - keepSquare) * (slope * slope - this.square[i]);
      const size = Math.sqrt(this.square[i] * squareScale) + 1e-8;
      this.values[i] -= (rate * this.mean[i] * meanScale) / size;
      this.gradient[i] = 0;
    }
  }
}

/** A fully connected network with tanh units, from one number to one number, without a unit at its end. */
class Network {
  /**
   * widths: from the input up, such as [1, 16, 1].
   * range: factor of the initial weights, which are normal with the variance 1 / inputs.
   * random: what draws them.
   */
  constructor(widths, range, random) {
    this.layers = [];
    this.updates = 0;
    for (let number = 0; number + 1 < widths.length; number++) {
      const inputs = widths[number];
      const outputs = widths[number + 1];
      const isLast = number + 2 === widths.length;
      const weights = Array.from({ length: inputs * outputs }, () => (random.normal() * range) / Math.sqrt(inputs));
      // Of units that see one number, the biases say where they bend: spread out.
      const biases = Array.from({ length: outputs }, () => (isLast ? 0 : random.normal()));
      this.layers.push({ inputs, outputs, weights: new Parameters(weights), biases: new Parameters(biases) });
    }
  }

  /** The outputs of every layer for n numbers, from the input up; the last are the network's. */
  activations(numbers) {
    const tape = [numbers];
    this.layers.forEach(({ inputs, outputs, weights, biases }, number) => {
      const below = tape[number];
      const weight = weights.values;
      const bias = biases.values;
      const isLast = number === this.layers.length - 1;
      const rows = below.length / inputs;
      const above = new Float64Array(rows * outputs);
      for (let row = 0; row < rows; row++) {
        for (let unit = 0; unit < outputs; unit++) {
          let sum = bias[unit];
          for (let input = 0; input < inputs; input++) {
            sum += below[row * inputs + input] * weight[input * outputs + unit];
          }
          above[row * outputs + unit] = isLast ? sum : Math.tanh(sum);
        }
      }
      tape.push(above);
    });
    return tape;
  }

  /** The network's answers to n numbers. */
  outputs(numbers) {
    return this.activations(numbers).at(-1);
  }

  /**
   * Backpropagation: adds to the gradient, unless `keep` says to leave it as it is.
   *
   * tape: of `activations`.
   * slopes: of the loss by each output.
   * Gives the slopes of the loss by each input.
   */
  backpropagate(tape, slopes, keep = false) {
    let above = slopes;
    for (let number = this.layers.length - 1; number >= 0; number--) {
      const { inputs, outputs, weights, biases } = this.layers[number];
      const values = tape[number];
      const rows = values.length / inputs;
      const below = new Float64Array(values.length);
      for (let row = 0; row < rows; row++) {
        for (let unit = 0; unit < outputs; unit++) {
          const slope = above[row * outputs + unit];
          if (!keep) biases.gradient[unit] += slope;
          for (let input = 0; input < inputs; input++) {
            const place = row * inputs + input;
            const weight = input * outputs + unit;
            if (!keep) weights.gradient[weight] += slope * values[place];
            below[place] += slope * weights.values[weight];
          }
        }
      }
      // The slope of tanh, from its value; the input of the lowest layer is no unit.
      if (number > 0) below.forEach((slope, place) => { below[place] = slope * (1 - values[place] ** 2); });
      above = below;
    }
    return above;
  }

  /** Every weight and bias. */
  get parameters() {
    return this.layers.flatMap(({ weights, biases }) => [weights, biases]);
  }

  /** The Euclidean norm of the gradient. */
  gradientNorm() {
    const squares = this.parameters.flatMap(({ gradient }) => [...gradient]).map((slope) => slope ** 2);
    return Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
  }

  /** One step of Adam against the gradient. */
  step(rate) {
    this.updates += 1;
    this.parameters.forEach((one) => one.step(rate, this.updates));
  }
}
