import { OffloadError } from '@cni-offload/sdk'
import { Client, credentials } from '@grpc/grpc-js'
import { errorFromStatus } from '../errors.ts'
import { type RegisterRequest, RegistrationService } from '../gen/deviceplugin/v1beta1/deviceplugin.ts'

/** How long kubelet may take: it dials the plugin, for up to ten seconds, before it answers. */
const REGISTER_MS = 15_000

/**
 * Announces a plugin to kubelet. The plugin must be served already.
 *
 * @param socket - path of kubelet's socket
 * @throws OffloadError NOT_READY when kubelet does not answer, INVALID_CONFIG when it refuses, CANCELLED
 */
export async function registerDevicePlugin(socket: string, request: RegisterRequest, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    // A new kubelet at the same path must not meet the back-off that belongs to the old one.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_http_proxy': 0,
    'grpc.enable_channelz': 0,
  })
  const { path, requestSerialize, responseDeserialize } = RegistrationService.register
  try {
    await new Promise<void>((resolve, reject) => {
      const call = client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        { deadline: Date.now() + REGISTER_MS },
        (error) => {
          signal.removeEventListener('abort', abort)
          if (error === null) resolve()
          else reject(errorFromStatus(error, `register ${request.resourceName} at ${socket}`))
        },
      )
      const abort = (): void => call.cancel()
      signal.addEventListener('abort', abort, { once: true })
    })
  } catch (error) {
    throw explained(error, signal)
  } finally {
    client.close()
  }
}

/** Kubelet refuses with statuses that say nothing (UNKNOWN); its words do. */
function explained(error: unknown, signal: AbortSignal): OffloadError {
  const failure = OffloadError.from(error)
  if (signal.aborted || failure.code === 'CANCELLED') return OffloadError.from(signal.reason, 'CANCELLED', failure.message)
  if (failure.code === 'AGENT_UNREACHABLE' || failure.code === 'DEADLINE_EXCEEDED')
    return new OffloadError('NOT_READY', failure.message, { cause: failure, hint: 'Is kubelet running on this node?' })
  return new OffloadError('INVALID_CONFIG', failure.message, {
    cause: failure,
    hint: 'Kubelet refused the registration: look at the name of the resource, and at kubelet’s log.',
  })
}
