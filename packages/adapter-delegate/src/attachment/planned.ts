import { PORT_IN_PROXY } from '@cni-offload/linux/splice'
import { type AttachRequest, OffloadError } from '@cni-offload/sdk'
import type { PluginList } from '@cni-offload/sdk/exec'
import type { StoredAttachment } from '../state/attachment-store.ts'

/** What a request asks of a plugin list. */
export function plannedAttachment(req: AttachRequest, list: PluginList): StoredAttachment {
  return { key: req.key, port: req.port, request: req, list }
}

/**
 * A plugin list cannot be made to do these things from outside; ignoring them would be silent.
 *
 * @param encrypts - whether the caller has made sure that traffic is encrypted where that is asked for
 * @throws OffloadError UNSUPPORTED_FIELD
 */
export function refuseUnsupported(req: AttachRequest, encrypts: boolean): void {
  const refused = {
    hostIpam: req.hostIpam,
    vlan: req.vlan,
    'flags.ipsec': req.flags.ipsec && !encrypts ? true : undefined,
    'key.ifName': [PORT_IN_PROXY, 'lo'].includes(req.key.ifName) ? req.key.ifName : undefined,
  }
  for (const [field, value] of Object.entries(refused))
    if (value !== undefined)
      throw new OffloadError('UNSUPPORTED_FIELD', `${field} = ${JSON.stringify(value)}: a delegated plugin list cannot honour it`, {
        hint: 'Configure it in the plugin list of the DPU, or use another adapter for this network.',
      })
}
