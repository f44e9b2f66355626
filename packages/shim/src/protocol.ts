/** What the process prints on standard output, and its exit status. */
export interface Answer {
  readonly stdout: Uint8Array
  readonly status: number
}

/** Replies are CNI results and errors, a few kilobytes; more than this is not one of ours. */
const MAX_REPLY_BYTES = 16_777_216

const LENGTH_BYTES = 4

/** Puts the length, 32 bits big-endian, before a text's UTF-8. */
export function frame(text: string): Uint8Array {
  const body = new TextEncoder().encode(text)
  const bytes = new Uint8Array(LENGTH_BYTES + body.length)
  for (let at = 0; at < LENGTH_BYTES; at++) bytes[at] = (body.length >>> (24 - 8 * at)) & 0xff
  bytes.set(body, LENGTH_BYTES)
  return bytes
}

/** How far a reply has come in. */
export type ReplyState = 'incomplete' | 'complete' | 'malformed'

/** Puts a reply together from the pieces in which it arrives: length, exit status, and what is to be printed. */
export class ReplyReader {
  private buffer: Uint8Array = new Uint8Array(65_536)
  private filled: number = 0

  /** Takes the first `count` bytes of `chunk`. */
  push(chunk: Uint8Array, count: number): void {
    if (this.filled + count > this.buffer.length) {
      const larger = new Uint8Array(2 * (this.filled + count))
      larger.set(this.buffer.subarray(0, this.filled), 0)
      this.buffer = larger
    }
    this.buffer.set(chunk.subarray(0, count), this.filled)
    this.filled += count
  }

  /** Whether more is to come. Without a status byte, or longer than any reply, it is malformed. */
  state(): ReplyState {
    if (this.filled < LENGTH_BYTES) return 'incomplete'
    const length = this.length()
    if (length < 1 || length > MAX_REPLY_BYTES) return 'malformed'
    return this.filled >= LENGTH_BYTES + length ? 'complete' : 'incomplete'
  }

  /** The reply; call when the state is complete. */
  answer(): Answer {
    const end = LENGTH_BYTES + this.length()
    return { stdout: this.buffer.slice(LENGTH_BYTES + 1, end), status: this.buffer[LENGTH_BYTES] ?? 1 }
  }

  private length(): number {
    let length = 0
    for (let at = 0; at < LENGTH_BYTES; at++) length = length * 256 + (this.buffer[at] ?? 0)
    return length
  }
}
