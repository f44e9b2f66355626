import { lstat, mkdir, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'

/** Longest path of a unix socket, without the suffix of the temporary name. */
const MAX_PATH_BYTES = 100

/**
 * Makes sure that a unix socket may be made at a path: its folder exists, and a socket that a dead process left is gone.
 *
 * @throws OffloadError INVALID_CONFIG when the path is too long, is something else than a socket, or belongs to a process that is alive
 */
export async function claimPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    throw new OffloadError('INVALID_CONFIG', `socket = ${path}: ${Buffer.byteLength(path)} bytes, at most ${MAX_PATH_BYTES} are possible`)
  await mkdir(dirname(path), { recursive: true, mode: 0o755 })
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket())
    throw new OffloadError('INVALID_CONFIG', `socket = ${path}: there is something that is no socket`, {
      hint: 'Remove it, or choose another path.',
    })
  if (await answers(path))
    throw new OffloadError('INVALID_CONFIG', `socket = ${path}: another process listens on it`, {
      hint: 'Is a host daemon running already? Stop it first, or choose another path.',
    })
  await unlink(path).catch(() => {})
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const settle = (alive: boolean): void => {
      socket.destroy()
      resolve(alive)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
  })
}
