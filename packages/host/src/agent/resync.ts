import type { AttachResult } from '@cni-offload/sdk'

/** MAC and addresses of before and after, if they differ: a running pod cannot follow such a change. */
export function addressesChanged(
  before: AttachResult,
  after: AttachResult,
): { before: readonly string[]; after: readonly string[] } | undefined {
  const of = (result: AttachResult): string[] => [result.mac, ...result.ips.map(({ address }) => address).toSorted()]
  const [was, is] = [of(before), of(after)]
  return was.join() === is.join() ? undefined : { before: was, after: is }
}
