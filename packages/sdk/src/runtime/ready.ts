import { closeSync, writeSync } from 'node:fs'

/**
 * Tells whoever started this daemon that it serves now: one line on the descriptor that `OFFLOAD_READY_FD` names, which is then
 * closed (the readiness convention of s6 and others). Without the variable it does nothing.
 *
 * A starter that does not wait any more is no reason to stop serving.
 */
export function announceReady(env: Readonly<Record<string, string | undefined>> = process.env): void {
  const fd = Number(env['OFFLOAD_READY_FD'])
  // 0 to 2 are the standard streams; NaN, the variable's absence, fails the comparison.
  if (!(Number.isInteger(fd) && fd > 2)) return
  try {
    writeSync(fd, 'ready\n')
    closeSync(fd)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EPIPE' && code !== 'EBADF') throw error
  }
}
