import type { Machine } from '@cni-offload/linux/machine'
import { broken, doubtful, fine, type OcteonFinding, unseen } from '../finding.ts'

/** Memory that the control agent is documented to need. */
const AGENT_KB = 256 * 1024

/** Several times what the agent needs is hardly meant: a number of pages was taken from where pages are smaller. */
const FAR_TOO_MUCH = 4

/**
 * Whether there are huge pages of the default size for the control agent, and no more than makes sense.
 *
 * @param needed - by its release
 * @param running - whether it runs, and so has got its own
 */
export async function hugepageFinding(machine: Machine, needed: boolean, running: boolean): Promise<OcteonFinding> {
  const text = await machine.read('/proc/meminfo')
  const [sizeKb, total, free] = ['Hugepagesize', 'HugePages_Total', 'HugePages_Free'].map((name) => valueOf(text, name))
  if (sizeKb === undefined || total === undefined || free === undefined) {
    const why = 'this kernel has no huge pages'
    return needed ? broken('', why, 'Use a kernel with CONFIG_HUGETLBFS.') : unseen(why)
  }
  const pages = Math.ceil(AGENT_KB / sizeKb)
  const seen = `${total} of ${sizeKb} kB, ${free} free`
  if (needed && total < pages)
    return broken(
      seen,
      `the control agent needs ${AGENT_KB / 1024} MiB`,
      `offload octeon setup; by hand: echo ${pages} > /proc/sys/vm/nr_hugepages, and read it back: the kernel gives fewer without a word.`,
    )
  if (needed && !running && free === 0)
    return broken(
      seen,
      'somebody else has all of them, so that the control agent gets none when it is started',
      `See what uses them (DPDK, files in a hugetlbfs); or echo ${total + pages} > /proc/sys/vm/nr_hugepages, and read it back.`,
    )
  if (total * sizeKb > Math.max(FAR_TOO_MUCH * AGENT_KB, pages * sizeKb))
    return doubtful(
      seen,
      `that keeps ${Math.round((total * sizeKb) / 1024)} MiB from everything else, where ${AGENT_KB / 1024} MiB are needed`,
      `If nothing else (DPDK) wants them: echo ${pages} > /proc/sys/vm/nr_hugepages`,
    )
  return fine(needed ? seen : `${seen}; this release needs none`)
}

function valueOf(text: string, name: string): number | undefined {
  const digits = new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1]
  return digits === undefined ? undefined : Number(digits)
}
