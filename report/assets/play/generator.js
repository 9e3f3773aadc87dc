"use strict";

// A trained generator: its weights out of the page, and the images that it makes of z. Nothing here knows of the page.

/** The number that 16 bits stand for by IEEE 754: a sign, five bits of exponent, ten of fraction. */
function halfPrecision(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = (bits & 0x3ff) / 1024;
  if (exponent === 0) return sign * fraction * 2 ** -14;
  return sign * (1 + fraction) * 2 ** (exponent - 15);
}

/** What the units of a layer do with their sum. */
const UNITS = { rectified: (sum) => Math.max(0, sum), sigmoid };

/** The fully connected generator of the adversarial nets, with weights rounded to 16 bits. */
class Generator {
  /**
   * about: `shape` (channels, height, width) of an image, `noise` ("uniform" or "gaussian"), `widths` of the layers
   *   from z up, `units` of each layer.
   * bytes: an ArrayBuffer: of each layer the weights, input by input, then the biases; little-endian.
   */
  constructor({ shape, noise, widths, units }, bytes) {
    [, this.height, this.width] = shape;
    this.noise = noise;
    [this.dimension] = widths;
    const take = this.reader(bytes);
    this.layers = units.map((unit, number) => {
      const inputs = widths[number];
      const outputs = widths[number + 1];
      return { inputs, outputs, unit: UNITS[unit], ...take(inputs, outputs) };
    });
  }

  /** A function that takes the weights and biases of layer after layer out of the bytes. */
  reader(bytes) {
    const view = new DataView(bytes);
    let offset = 0;
    const take = (count) => {
      const numbers = Float64Array.from({ length: count }, (_, i) => halfPrecision(view.getUint16(offset + 2 * i, true)));
      offset += 2 * count;
      return numbers;
    };
    return (inputs, outputs) => ({ weights: take(inputs * outputs), biases: take(outputs) });
  }

  /** The generator in the data element of the page: a promise. */
  static async unpacked(element) {
    const about = JSON.parse(element.textContent);
    const packed = Uint8Array.from(atob(about.weights), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new this(about, await new Response(stream).arrayBuffer());
  }

  /** The largest size of a number of z that sliders offer: all of a uniform z, nearly all of a normal one. */
  get reach() {
    return this.noise === "uniform" ? Math.sqrt(3) : 3;
  }

  /** A z as in training: uniform with the variance 1, or standard normal. */
  draw(random) {
    const uniform = () => (2 * random.uniform() - 1) * Math.sqrt(3);
    const one = this.noise === "uniform" ? uniform : () => random.normal();
    return Float64Array.from({ length: this.dimension }, one);
  }

  /** The pixels of G(z), row by row, from 0 (black) to 1. */
  image(z) {
    let below = z;
    for (const { inputs, outputs, unit, weights, biases } of this.layers) {
      const sums = Float64Array.from(biases);
      for (let input = 0; input < inputs; input++) {
        for (let output = 0; output < outputs; output++) {
          sums[output] += below[input] * weights[input * outputs + output];
        }
      }
      below = sums.map(unit);
    }
    return below;
  }

  /** Paints images side by side on a canvas, a pixel apart. */
  paint(canvas, images) {
    canvas.width = images.length * (this.width + 1) - 1;
    canvas.height = this.height;
    const context = canvas.getContext("2d");
    images.forEach((image, place) => {
      const picture = context.createImageData(this.width, this.height);
      image.forEach((grey, pixel) => {
        picture.data.fill(Math.round(255 * grey), 4 * pixel, 4 * pixel + 3);
        picture.data[4 * pixel + 3] = 255;
      });
      context.putImageData(picture, place * (this.width + 1), 0);
    });
  }
}

/** The z at a share of the straight line from one to another. */
const between = (first, last, share) => first.map((number, i) => (1 - share) * number + share * last[i]);
