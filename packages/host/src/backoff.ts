/**
 * How long to wait after a number of failures, in milliseconds: `firstMs` after one, twice as long after each more, up to
 * `mostMs`; random between half of it and all of it, so that nodes do not act in step.
 */
export function backoff(failures: number, firstMs: number, mostMs: number): number {
  return Math.min(firstMs * 2 ** (failures - 1), mostMs) * (0.5 + Math.random() / 2)
}
