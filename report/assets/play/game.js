"use strict";

// The game of figure 1 on a line: G moves uniform z to x, D tells x of the data from x of G. Nothing here knows of
// the page. The quantities are those of section 4.1 of the paper.

/** What is shown of the line: from, to, and into how many cells it is cut. */
const LINE = { from: -4, to: 4, cells: 160 };
LINE.width = (LINE.to - LINE.from) / LINE.cells;
LINE.centres = Float64Array.from({ length: LINE.cells }, (_, cell) => LINE.from + (cell + 0.5) * LINE.width);

/** Equal parts of the line's z whose images are followed to measure p_g. */
const SEGMENTS = 2000;
/** Numbers of the data and of z in a minibatch: m of Algorithm 1. */
const BATCH = 128;
/** Step sizes of Adam. */
const DISCRIMINATOR_RATE = 0.004;
const GENERATOR_RATE = 0.002;

/** Data: equally likely Gaussians, by their means, of one standard deviation. */
const HILLS = {
  one: { means: [0], deviation: 1 },
  two: { means: [-1.6, 1.6], deviation: 0.45 },
};

/** The density of the data at x. */
function dataDensity({ means, deviation }, x) {
  const peaks = means.map((mean) => Math.exp(-0.5 * ((x - mean) / deviation) ** 2));
  const sum = peaks.reduce((total, peak) => total + peak, 0);
  return sum / (means.length * deviation * Math.sqrt(2 * Math.PI));
}

/**
 * The probability that x = G(z) falls into each cell, for z uniform on (-1, 1), and its share outside the line.
 *
 * No samples: between two neighbouring z, G is taken for straight, so that a segment spreads evenly from image to image.
 */
function generatorMass(images) {
  const mass = new Float64Array(LINE.cells);
  const share = 1 / (images.length - 1);
  let outside = 0;
  for (let segment = 0; segment + 1 < images.length; segment++) {
    // In cells from the left end of the line.
    const ends = [images[segment], images[segment + 1]].map((x) => (x - LINE.from) / LINE.width);
    const left = Math.min(...ends);
    const right = Math.max(...ends);
    let inside = 0;
    const first = Math.max(Math.floor(left), 0);
    const last = Math.min(Math.floor(right), LINE.cells - 1);
    for (let cell = first; cell <= last; cell++) {
      const overlap = Math.min(right, cell + 1) - Math.max(left, cell);
      // A segment of no length lies in one cell.
      const part = right > left ? (share * overlap) / (right - left) : share;
      mass[cell] += part;
      inside += part;
    }
    outside += share - inside;
  }
  return { mass, outside };
}

/** p log(p / q), which is 0 where p is. */
const divergence = (p, q) => (p > 0 ? p * Math.log(p / q) : 0);

/** How broad a distribution is: e to the power of its entropy, in units of x. */
function breadth(mass) {
  const entropy = -mass.reduce((sum, p) => sum + divergence(p, 1), 0);
  return Math.exp(entropy) * LINE.width;
}

/** G and D, two small networks, and the rounds that they have played. */
class LineGame {
  /**
   * hills: an entry of HILLS.
   * seed: of the first weights, the data and z. The same seed and moves give the same game.
   */
  constructor(hills, seed) {
    this.hills = hills;
    this.random = new Random(seed);
    this.generator = new Network([1, 16, 16, 1], 1.2, this.random);
    this.discriminator = new Network([1, 24, 24, 1], 1.4, this.random);
    // G begins beside the data, so that there is something to see.
    this.generator.layers.at(-1).biases.values[0] = -2.2;
    this.rounds = 0;
    this.gradient = 0;
  }

  /** A minibatch of the data. */
  data() {
    const { means, deviation } = this.hills;
    const one = () => means[Math.floor(this.random.uniform() * means.length)] + deviation * this.random.normal();
    return Float64Array.from({ length: BATCH }, one);
  }

  /** A minibatch of z, uniform on (-1, 1). */
  noise() {
    return Float64Array.from({ length: BATCH }, () => 2 * this.random.uniform() - 1);
  }

  /** One step of D up its value, log D(x) + log(1 - D(G(z))). */
  updateDiscriminator() {
    const D = this.discriminator;
    const real = D.activations(this.data());
    D.backpropagate(real, real.at(-1).map((logit) => (sigmoid(logit) - 1) / BATCH));
    const generated = D.activations(this.generator.outputs(this.noise()));
    D.backpropagate(generated, generated.at(-1).map((logit) => sigmoid(logit) / BATCH));
    D.step(DISCRIMINATOR_RATE);
  }

  /** One step of G down log(1 - D(G(z))) ("saturating") or -log D(G(z)) ("non-saturating"), through D. */
  updateGenerator(objective) {
    const made = this.generator.activations(this.noise());
    const judged = this.discriminator.activations(made.at(-1));
    // By the logit a of D: d log(1 - sigmoid(a)) / da = -sigmoid(a), and d -log sigmoid(a) / da = sigmoid(a) - 1.
    const slope = objective === "saturating" ? (logit) => -sigmoid(logit) : (logit) => sigmoid(logit) - 1;
    const slopes = judged.at(-1).map((logit) => slope(logit) / BATCH);
    this.generator.backpropagate(made, this.discriminator.backpropagate(judged, slopes, true));
    this.gradient = this.generator.gradientNorm();
    this.generator.step(GENERATOR_RATE);
  }

  /** A round of Algorithm 1: k steps of D, then so many of G (the paper takes one). */
  playRound({ k, generatorUpdates, objective }) {
    for (let update = 0; update < k; update++) this.updateDiscriminator();
    for (let update = 0; update < generatorUpdates; update++) this.updateGenerator(objective);
    this.rounds += 1;
  }

  /**
   * What stands on the line now, cell by cell, and what follows from it.
   *
   * data, generated: the densities p_data and p_g.
   * discriminator: D(x).
   * best: p_data / (p_data + p_g), the best D for this G (Proposition 1).
   * jsd: the Jensen-Shannon divergence of p_data and p_g over the cells, in nats, from 0 to log 2.
   * distance: the mean of |D - best| over x, drawn in equal parts from the data and from G.
   * breadth: of p_g, as a share of the data's.
   */
  measure() {
    const z = Float64Array.from({ length: SEGMENTS + 1 }, (_, i) => -1 + (2 * i) / SEGMENTS);
    const { mass, outside } = generatorMass(this.generator.outputs(z));
    const data = LINE.centres.map((x) => dataDensity(this.hills, x));
    const dataMass = data.map((density) => density * LINE.width);
    const discriminator = this.discriminator.outputs(LINE.centres).map(sigmoid);
    const best = mass.map((p, cell) => dataMass[cell] / (dataMass[cell] + p));

    // What lies outside the line is one more cell of each.
    const inside = dataMass.reduce((sum, p) => sum + p, 0);
    const real = [...dataMass, Math.max(0, 1 - inside)];
    const made = [...mass, Math.max(0, outside)];
    let jsd = 0;
    real.forEach((p, cell) => {
      const middle = (p + made[cell]) / 2;
      jsd += (divergence(p, middle) + divergence(made[cell], middle)) / 2;
    });

    let distance = 0;
    let weight = 0;
    mass.forEach((p, cell) => {
      distance += (p + dataMass[cell]) * Math.abs(discriminator[cell] - best[cell]);
      weight += p + dataMass[cell];
    });
    return {
      data,
      generated: mass.map((p) => p / LINE.width),
      discriminator,
      best,
      jsd,
      distance: distance / weight,
      breadth: breadth(made) / breadth(real),
    };
  }
}
