import type { Link } from '@cni-offload/linux'
import type { FunctionEnd } from '@cni-offload/linux/function'

/** Whether a link is an end that was made by somebody who was killed before it had its note: all of it that can be known without. */
export function isUnfinished(link: Link, spec: Pick<FunctionEnd, 'name' | 'mac'>): boolean {
  return link.kind === 'veth' && link.alias === '' && link.name === spec.name && link.mac === spec.mac
}
