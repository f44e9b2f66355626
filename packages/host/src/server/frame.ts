import { OffloadError } from '@cni-offload/sdk'

/** Longest request, in bytes: a netconf with its prevResult is a few kB, so this bounds memory and nothing else. */
export const MAX_FRAME_BYTES: number = 8 * 1024 * 1024

const LENGTH_BYTES = 4

/** Collects one frame (32-bit big-endian length, then that many bytes) from chunks of any size. */
export class FrameReader {
  readonly #chunks: Buffer[] = []
  #received = 0
  #expected: number | undefined

  /**
   * Takes a chunk. What follows the frame is ignored: a connection carries one request.
   *
   * @returns the frame's content once it is complete
   * @throws OffloadError UNDECODABLE as soon as the length is known to be too large
   */
  push(chunk: Buffer): Buffer | undefined {
    this.#chunks.push(chunk)
    this.#received += chunk.length
    if (this.#expected === undefined) {
      if (this.#received < LENGTH_BYTES) return undefined
      this.#expected = this.#joined().readUInt32BE(0)
      if (this.#expected > MAX_FRAME_BYTES)
        throw new OffloadError('UNDECODABLE', `request of ${this.#expected} bytes: at most ${MAX_FRAME_BYTES} are taken`)
    }
    if (this.#received < LENGTH_BYTES + this.#expected) return undefined
    return this.#joined().subarray(LENGTH_BYTES, LENGTH_BYTES + this.#expected)
  }

  #joined(): Buffer {
    const [first] = this.#chunks
    if (first !== undefined && this.#chunks.length === 1) return first
    const joined = Buffer.concat(this.#chunks)
    this.#chunks.splice(0, this.#chunks.length, joined)
    return joined
  }
}

/** What a caller is answered: its exit status, and what it prints. */
export interface Reply {
  /** Exit status, 0–255. */
  readonly exitCode: number
  /** Standard output, possibly empty. */
  readonly output: string
}

/** A reply as a frame: 32-bit big-endian length of the rest, one byte exit status, the output. */
export function encodeReply(reply: Reply): Buffer {
  const output = Buffer.byteLength(reply.output)
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + 1 + output)
  frame.writeUInt32BE(1 + output, 0)
  frame.writeUInt8(reply.exitCode, LENGTH_BYTES)
  frame.write(reply.output, LENGTH_BYTES + 1)
  return frame
}
