import { OffloadError } from '@cni-offload/sdk'
import { type HandshakeCall, PROTOCOL_VERSIONS } from '@cni-offload/protocol'

/**
 * The highest protocol version that both sides speak.
 *
 * @throws OffloadError INCOMPATIBLE_PEER naming both ranges
 */
export function negotiate(theirs: HandshakeCall['protocol'], ours: HandshakeCall['protocol'] = PROTOCOL_VERSIONS): number {
  const version = Math.min(theirs.max, ours.max)
  if (theirs.min <= theirs.max && version >= Math.max(theirs.min, ours.min)) return version
  throw new OffloadError(
    'INCOMPATIBLE_PEER',
    `the host speaks protocol versions ${theirs.min} to ${theirs.max}, this agent ${ours.min} to ${ours.max}`,
    {
      hint: `Upgrade the ${theirs.max < ours.min ? 'host daemon' : 'agent'}.`,
    },
  )
}
