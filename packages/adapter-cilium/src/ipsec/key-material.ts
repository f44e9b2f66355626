/** Bytes of a key. They get into no message, log or JSON by accident: only {@link KeyMaterial.hex} gives them away. */
export class KeyMaterial {
  readonly #bytes: Uint8Array

  /** Takes a copy. */
  constructor(bytes: Uint8Array) {
    this.#bytes = Uint8Array.from(bytes)
  }

  /** Length in bytes. */
  get length(): number {
    return this.#bytes.length
  }

  /** The secret itself, two lower-case digits for each byte. */
  hex(): string {
    return Buffer.from(this.#bytes).toString('hex')
  }

  /** Whether both are the same secret. */
  equals(other: KeyMaterial): boolean {
    return this.hex() === other.hex()
  }

  /** Its length only. */
  toString(): string {
    return `(secret of ${this.length} bytes)`
  }

  /** As {@link toString}. */
  toJSON(): string {
    return this.toString()
  }
}
