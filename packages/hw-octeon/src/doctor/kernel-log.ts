import type { Machine } from '@cni-offload/linux/machine'

/** Lines of the kernel's log without their times, the oldest first. */
export type KernelLog = readonly string[]

/** The kernel's log; undefined where it cannot be read: only root may, mostly. @throws the signal's reason */
export async function readKernelLog(machine: Machine, signal: AbortSignal): Promise<KernelLog | undefined> {
  const outcome = await machine.run(['dmesg'], signal).catch(() => undefined)
  signal.throwIfAborted()
  return outcome?.exitCode === 0 ? kernelLogLines(outcome.stdout) : undefined
}

/** Lines of `dmesg`, with or without times and levels in front. */
export function kernelLogLines(text: string): KernelLog {
  return text
    .split('\n')
    .map((line) => line.replace(/^(?:<\d+>)?\s*\[[^\]]*\]\s*/, '').trimEnd())
    .filter((line) => line !== '')
}

/** A driver has finished with a physical function on the host: what is older is over. */
const BROUGHT_UP = /Device (?:probe|setup) successful/

/**
 * What the log says of a function on the host since its driver brought it up last; since the log begins if that is not in it. Lines of the
 * mailbox carry no address: with one card they are its own.
 */
export function sinceBroughtUp(log: KernelLog, address: string): KernelLog {
  const isOf = (line: string): boolean => line.startsWith(`octeon_ep ${address}`)
  const own = log.filter((line) => isOf(line) || /^octep[ _]ctrl[ _]mbox/i.test(line))
  const last = own.findLastIndex((line) => isOf(line) && BROUGHT_UP.test(line))
  return own.slice(last + 1)
}

/** What is said of a module's flavour: the two drivers call their bringing-up by different names. */
export function flavourInLog(log: KernelLog, address: string): 'upstream' | 'out-of-tree' | undefined {
  const line = log.findLast(
    (one) => one.startsWith(`octeon_ep ${address}`) && /Device (?:probe successful|setup (?:successful|task queued))/.test(one),
  )
  if (line === undefined) return undefined
  return line.includes('probe') ? 'upstream' : 'out-of-tree'
}
