import { Assembler, CONTEXT, HELPER, type Label, networkOrder16, type Register, VERDICT, type Width } from '@cni-offload/linux/bpf'

/** The stack's end, from which copies of the frame's beginning are read. */
const STACK: Register = 10
/** Bytes of what the stack is counted in. */
const WORD = 8
/** Copies begin so much later that what follows the 14 bytes of Ethernet is aligned. */
const SHIFT = 2
/** Keeps the context over calls of helpers. */
const FRAME: Register = 6
/** What helpers answer, and what they are given. */
const ANSWER: Register = 0
const FIRST: Register = 1
const SECOND: Register = 2
const THIRD: Register = 3
const FOURTH: Register = 4

/**
 * A program that reads a frame and lets it pass or not. Numbers of more than one byte are in the order of the network, as everywhere in
 * frames.
 */
export class FrameProgramBuilder {
  readonly #code = new Assembler()
  readonly #drop: Label
  readonly #pass: Label
  /** Where the copy begins, counted from the end of the stack. */
  #begin = 0

  /** Begins with what every program begins with. */
  constructor() {
    this.#drop = this.#code.label('drop')
    this.#pass = this.#code.label('pass')
    this.#code.compute('mov', FRAME, { register: FIRST })
  }

  /** The instructions themselves, for what this class has no word for. */
  get code(): Assembler {
    return this.#code
  }

  /** Where frames are dropped. */
  get drop(): Label {
    return this.#drop
  }

  /** Where frames pass. */
  get pass(): Label {
    return this.#pass
  }

  /** A new label. */
  label(name: string): Label {
    return this.#code.label(name)
  }

  /** Continues at a label. */
  at(label: Label): this {
    this.#code.place(label)
    return this
  }

  /** Copies the first bytes of the frame, as its tag left them; a shorter frame goes elsewhere. */
  copy(bytes: number, shorter: Label): this {
    this.#begin = SHIFT - Math.ceil((bytes + SHIFT) / WORD) * WORD
    this.#code
      .compute('mov', FIRST, { register: FRAME })
      .compute('mov', SECOND, 0)
      .compute('mov', THIRD, { register: STACK })
      .compute('add', THIRD, this.#begin)
      .compute('mov', FOURTH, bytes)
      .call(HELPER.loadBytes)
      .jumpIf(ANSWER, '!=', 0, shorter)
    return this
  }

  /** Goes on elsewhere if bytes of the copy are, or are not, those given: 1, 2 or more of them. */
  bytesIf(offset: number, condition: '==' | '!=', expected: Uint8Array, to: Label): this {
    const different = condition === '!=' ? to : this.label('different')
    let at = 0
    while (at < expected.length) {
      const place = this.#begin + offset + at
      const width = widthAt(place, expected.length - at)
      const bytes = Buffer.from(expected.subarray(at, at + width))
      this.#code.load(width, FIRST, STACK, place)
      if (width === 4) this.#code.constant(SECOND, bytes.readUInt32LE(0))
      else this.#code.compute('mov', SECOND, width === 2 ? bytes.readUInt16LE(0) : bytes.readUInt8(0))
      this.#code.jumpIf(FIRST, '!=', { register: SECOND }, different)
      at += width
    }
    if (condition === '==') this.#code.jump(to).place(different)
    return this
  }

  /** Goes on elsewhere if a 16-bit number of the copy is the given one. */
  numberIf(offset: number, value: number, to: Label): this {
    return this.bytesIf(offset, '==', Buffer.from([value >> 8, value & 0xff]), to)
  }

  /** Goes on elsewhere if the frame carries no tag. */
  untaggedIf(to: Label): this {
    this.#code.load(4, FIRST, FRAME, CONTEXT.vlanPresent).jumpIf(FIRST, '==', 0, to)
    return this
  }

  /** Goes on elsewhere if the frame carries a tag. */
  taggedIf(to: Label): this {
    this.#code.load(4, FIRST, FRAME, CONTEXT.vlanPresent).jumpIf(FIRST, '!=', 0, to)
    return this
  }

  /** Goes on elsewhere if the tag is not of this protocol. */
  protocolUnless(protocol: number, to: Label): this {
    this.#code.load(4, FIRST, FRAME, CONTEXT.vlanProtocol).jumpIf(FIRST, '!=', networkOrder16(protocol), to)
    return this
  }

  /** Goes on elsewhere if the VLAN of the tag is within the range. */
  vlanIf(first: number, last: number, to: Label): this {
    const outside = this.label('outside')
    this.#code
      .load(4, FIRST, FRAME, CONTEXT.vlanTci)
      .compute('and', FIRST, 0xfff)
      .jumpIf(FIRST, '<', first, outside)
      .jumpIf(FIRST, '<=', last, to)
      .place(outside)
    return this
  }

  /** Puts a tag on the frame. */
  push(protocol: number, tci: number): this {
    this.#code
      .compute('mov', FIRST, { register: FRAME })
      .compute('mov', SECOND, networkOrder16(protocol))
      .compute('mov', THIRD, tci)
      .call(HELPER.vlanPush)
      .jumpIf(ANSWER, '!=', 0, this.#drop)
    return this
  }

  /** Takes the tag off the frame. */
  pop(): this {
    this.#code.compute('mov', FIRST, { register: FRAME }).call(HELPER.vlanPop).jumpIf(ANSWER, '!=', 0, this.#drop)
    return this
  }

  /** A byte of the copy in a comparison. */
  byteIf(offset: number, condition: '==' | '!=', value: number, to: Label): this {
    return this.bytesIf(offset, condition, Buffer.of(value), to)
  }

  /** `target = a field of the context`. */
  context(target: Register, field: keyof typeof CONTEXT): this {
    this.#code.load(4, target, FRAME, CONTEXT[field])
    return this
  }

  /** The program. */
  build(): ReturnType<Assembler['assemble']> {
    return this.#code
      .jump(this.#pass)
      .place(this.#drop)
      .compute('mov', ANSWER, VERDICT.drop)
      .exit()
      .place(this.#pass)
      .compute('mov', ANSWER, VERDICT.pass)
      .exit()
      .assemble()
  }
}

/** The kernel takes only accesses that are aligned. */
const widthAt = (place: number, left: number): Width => ([4, 2] as const).find((width) => left >= width && place % width === 0) ?? 1
