import type { AttachRequest, AttachResult, PortRef } from '@cni-offload/sdk'
import type { AttachCall } from '@cni-offload/protocol'

/** What an adapter is asked for, from what the host asked for. @param had - what a running pod has and keeps */
export function toRequest({ vf: _vf, had: _said, ...call }: AttachCall, port: PortRef, had?: AttachResult): AttachRequest {
  return { ...call, port, ...(had === undefined ? {} : { had }) }
}

/** What the host had asked for, from what an adapter was asked for. */
export function toCall({ port, had: _had, ...request }: AttachRequest): AttachCall {
  return { ...request, vf: port.vf }
}
