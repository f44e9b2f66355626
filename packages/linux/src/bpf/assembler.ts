import { OffloadError } from '@cni-offload/sdk'
import type { BpfMap, BpfProgram } from './program.ts'

/** Number of a register: 0 is the answer of a helper, 1–5 its arguments, 6–9 survive it, 10 is the end of the stack. */
export type Register = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10

/** Arithmetic of 64 bits. */
export type Arithmetic = 'add' | 'sub' | 'mul' | 'div' | 'and' | 'mov'

/** Comparison that a jump depends on; values count as unsigned, except with `signed<`. */
export type Condition = '==' | '!=' | '>' | '>=' | '<' | '<=' | 'signed<'

/** Width of a memory access in bytes. */
export type Width = 1 | 2 | 4 | 8

/** A register's value, or a constant of 32 bits with its sign. */
export type Operand = { readonly register: Register } | number

const ARITHMETIC: Readonly<Record<Arithmetic, number>> = { add: 0x07, sub: 0x17, mul: 0x27, div: 0x37, and: 0x57, mov: 0xb7 }
const CONDITIONS: Readonly<Record<Condition, number>> = {
  '==': 0x15,
  '!=': 0x55,
  '>': 0x25,
  '>=': 0x35,
  '<': 0xa5,
  '<=': 0xb5,
  'signed<': 0xc5,
}
const WIDTHS: Readonly<Record<Width, number>> = { 1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18 }
const FROM_REGISTER = 0x08
const LOAD = 0x61
const STORE = 0x63
const STORE_CONSTANT = 0x62
const JUMP = 0x05
const CALL = 0x85
const EXIT = 0x95
const LOAD_64 = 0x18
const ATOMIC_64 = 0xdb
const COMPARE_AND_EXCHANGE = 0xf1
const MAP_BY_FD = 1
/** Bytes of an instruction. */
const SIZE = 8

/** A name for a place in a program. */
export type Label = symbol

/** Puts the instructions of a small eBPF program together, one method each. Jumps go to labels, forwards only. */
export class Assembler {
  readonly #instructions: Buffer[] = []
  readonly #labels = new Map<Label, number>()
  readonly #jumps = new Map<number, Label>()
  readonly #maps: BpfMap[] = []

  /** A label that jumps can name before it is placed. */
  label(name: string): Label {
    return Symbol(name)
  }

  /** Gives the next instruction a label. */
  place(label: Label): this {
    this.#labels.set(label, this.#instructions.length)
    return this
  }

  /** `target = target OP operand`; of `mov`: `target = operand`. */
  compute(operation: Arithmetic, target: Register, operand: Operand): this {
    return typeof operand === 'number'
      ? this.#emit(ARITHMETIC[operation], target, 0, 0, operand)
      : this.#emit(ARITHMETIC[operation] | FROM_REGISTER, target, operand.register)
  }

  /** `target = 32 unsigned bits`, for constants that have no sign. */
  constant(target: Register, value: number): this {
    // The 32-bit form fills the upper half with zeros.
    return this.#emit(0xb4, target, 0, 0, value)
  }

  /** `target = memory[address + offset]`. */
  load(width: Width, target: Register, address: Register, offset: number): this {
    return this.#emit(LOAD | WIDTHS[width], target, address, offset)
  }

  /** `memory[address + offset] = source`. */
  store(width: Width, address: Register, offset: number, source: Register): this {
    return this.#emit(STORE | WIDTHS[width], address, source, offset)
  }

  /** `memory[address + offset] = constant`. */
  storeConstant(width: Width, address: Register, offset: number, value: number): this {
    return this.#emit(STORE_CONSTANT | WIDTHS[width], address, 0, offset, value)
  }

  /** Jumps. */
  jump(to: Label): this {
    this.#jumps.set(this.#instructions.length, to)
    return this.#emit(JUMP)
  }

  /** Jumps if `left CONDITION right`. */
  jumpIf(left: Register, condition: Condition, right: Operand, to: Label): this {
    this.#jumps.set(this.#instructions.length, to)
    return typeof right === 'number'
      ? this.#emit(CONDITIONS[condition], left, 0, 0, right)
      : this.#emit(CONDITIONS[condition] | FROM_REGISTER, left, right.register)
  }

  /** Calls a helper of the kernel: arguments in 1–5, answer in 0; 1–5 are lost. */
  call(helper: number): this {
    return this.#emit(CALL, 0, 0, 0, helper)
  }

  /** Ends with the value of register 0. */
  exit(): this {
    return this.#emit(EXIT)
  }

  /** `if (memory64[address] == register 0) memory64[address] = source`; register 0 is then what was there. */
  compareAndExchange(address: Register, source: Register): this {
    return this.#emit(ATOMIC_64, address, source, 0, COMPARE_AND_EXCHANGE)
  }

  /** `target = a map of one entry of that size`, which lives as long as the program. */
  map(target: Register, map: BpfMap): this {
    const index = this.#maps.push(map) - 1
    this.#emit(LOAD_64, target, MAP_BY_FD, 0, index)
    return this.#emit(0)
  }

  /**
   * The program, without what nothing leads to: the kernel does not take that.
   *
   * @throws OffloadError INTERNAL if a jump goes backwards or to a label that has no place
   */
  assemble(): BpfProgram {
    const targets = new Map([...this.#jumps].map(([at, to]) => [at, this.#target(at, to)]))
    const kept = this.#reachable(targets)
    const places = new Map(kept.map((at, place) => [at, place]))
    const instructions = kept.map((at, place) => {
      const instruction = Buffer.from(this.#instructions[at] ?? [])
      const target = targets.get(at)
      if (target !== undefined) instruction.writeInt16LE((places.get(target) ?? 0) - place - 1, 2)
      return instruction
    })
    return { instructions: new Uint8Array(Buffer.concat(instructions)), maps: [...this.#maps] }
  }

  #target(at: number, to: Label): number {
    const target = this.#labels.get(to)
    if (target !== undefined && target > at) return target
    throw new OffloadError('INTERNAL', `eBPF: no way from ${at} to ${String(to.description)}`)
  }

  /** Nothing leads backwards, so one look at each instruction is enough. */
  #reachable(targets: ReadonlyMap<number, number>): number[] {
    const reached = new Set([0])
    for (const [at, instruction] of this.#instructions.entries()) {
      if (!reached.has(at)) continue
      const target = targets.get(at)
      if (target !== undefined) reached.add(target)
      const code = instruction.readUInt8(0)
      if (code !== EXIT && code !== JUMP) reached.add(at + 1)
    }
    return [...this.#instructions.keys()].filter((at) => reached.has(at))
  }

  #emit(code: number, target = 0, source = 0, offset = 0, value = 0): this {
    const instruction = Buffer.alloc(SIZE)
    instruction.writeUInt8(code, 0)
    instruction.writeUInt8(target | (source << 4), 1)
    instruction.writeInt16LE(offset, 2)
    instruction.writeInt32LE(value | 0, 4)
    this.#instructions.push(instruction)
    return this
  }
}
