import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import { doubtful, fine, type OcteonFinding, unseen } from '../finding.ts'

/** Whether the machine swaps. Nothing here switches it off: that is for whoever runs the machine. */
export async function swapFinding(machine: Machine): Promise<OcteonFinding> {
  const text = await ifPresent(machine.read('/proc/swaps'), ['ENOENT', 'EACCES'])
  if (text === undefined) return unseen('/proc/swaps cannot be read')
  const areas = text
    .split('\n')
    .slice(1)
    .flatMap((line) => (line.trim() === '' ? [] : [line.split(/\s+/)[0] ?? '']))
  if (areas.length === 0) return fine('none')
  return doubtful(
    areas.join(', '),
    'a kubelet does not start with swap unless it is told to (failSwapOn), and a control agent that is swapped out misses heartbeats',
    'swapoff -a, and take it out of /etc/fstab; or configure the kubelet for it.',
  )
}
