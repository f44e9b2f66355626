import { undecodable } from './undecodable.ts'

/** A register in which a CPT block shows faults; all bits are 0 as long as there was none. */
export interface FaultRegister {
  /** Its name: `CPT_AF_FLTX_INT`. */
  readonly name: string
  /** Its words, 64 bits each. */
  readonly words: readonly bigint[]
}

/**
 * Reads the text of `cpt_err_info`.
 *
 * @param path - where it was read, for messages
 * @throws OffloadError UNDECODABLE that names the line
 */
export function parseFaultRegisters(text: string, path: string): readonly FaultRegister[] {
  const registers = text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return []
    const [, name, words] = /^(CPT_AF_[A-Z0-9_]+):((?:\s+0x[0-9a-f]{1,16})+)\s*$/.exec(line) ?? []
    if (name === undefined || words === undefined) throw undecodable(path, index, line, 'a register and its words')
    return [{ name, words: words.trim().split(/\s+/).map(BigInt) }]
  })
  if (registers.length === 0) throw undecodable(path, undefined, 'CPT_AF_FLTX_INT', 'this register')
  return registers
}

/** The registers that show a fault. */
export function faultyRegisters(registers: readonly FaultRegister[]): readonly FaultRegister[] {
  return registers.filter(({ words }) => words.some((word) => word !== 0n))
}

/** Such as `CPT_AF_FLTX_INT 0x4 0x0`. */
export function describeFaults(registers: readonly FaultRegister[]): string {
  return registers.map(({ name, words }) => `${name} ${words.map((word) => `0x${word.toString(16)}`).join(' ')}`).join(', ')
}
