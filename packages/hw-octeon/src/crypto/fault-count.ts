import type { FaultRegister } from './fault-registers.ts'

/**
 * Counts faults of the hardware, which only shows them: each bit that was not set when it was looked at before is one more. What the
 * driver clears between two looks is not seen, so there may have been more.
 */
export class FaultCount {
  #count = 0n
  #before = new Map<string, bigint>()

  /** Takes a reading. @returns faults so far; it never falls */
  add(registers: readonly (FaultRegister & { readonly block: string })[]): bigint {
    const now = new Map<string, bigint>()
    for (const { block, name, words } of registers) {
      for (const [index, word] of words.entries()) {
        const key = `${block} ${name} ${index}`
        this.#count += bitsOf(word & ~(this.#before.get(key) ?? 0n))
        now.set(key, word)
      }
    }
    this.#before = now
    return this.#count
  }
}

function bitsOf(word: bigint): bigint {
  let count = 0n
  for (let rest = word; rest !== 0n; rest &= rest - 1n) count += 1n
  return count
}
