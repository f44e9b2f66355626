import { z } from 'zod'

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/

/** A network name or container id as the CNI specification allows it. */
export const cniName: z.ZodString = z
  .string()
  .max(1024)
  .regex(NAME, 'letters, digits, "_", "." and "-" only, starting with a letter or digit')

/** An interface name that the kernel accepts as it stands: 1–15 bytes, no white space, "/", ":" or "%", not "." or "..". */
export const interfaceName: z.ZodString = z
  .string()
  .min(1)
  .refine((name) => new TextEncoder().encode(name).length <= 15, 'at most 15 bytes')
  .refine(
    (name) => !/[/:%\s\u0085\0]/u.test(name) && name !== '.' && name !== '..',
    'no white space, "/", ":", "%" or NUL, and not "." or ".."',
  )

/** Schema of {@link AttachmentKey}. */
export const attachmentKeySchema: z.ZodObject<{ network: z.ZodString; containerId: z.ZodString; ifName: z.ZodString }> = z.object({
  network: cniName,
  containerId: cniName,
  ifName: interfaceName,
})

/**
 * Identity of an attachment: one interface of one sandbox on one network. Everything between host and agent is
 * idempotent on it.
 *
 * @see https://www.cni.dev/docs/spec/#attachment-parameters
 */
export interface AttachmentKey {
  /** Network name, `name` of the netconf. */
  readonly network: string
  /** CNI_CONTAINERID: the sandbox. */
  readonly containerId: string
  /** CNI_IFNAME: the interface's name inside the sandbox. */
  readonly ifName: string
}

/** The key as one text, unique and reversible: none of the three parts can hold a "/". */
export function formatAttachmentKey(key: AttachmentKey): string {
  return `${key.network}/${key.containerId}/${key.ifName}`
}

/** Whose interface it is, as far as the runtime told us. Fields are empty where the runtime is not Kubernetes. */
export interface PodIdentity {
  /** Kubernetes namespace. */
  readonly namespace: string
  /** Pod name. */
  readonly name: string
  /** Pod UID. */
  readonly uid: string
}
