import { z } from 'zod'

/** A port of the node that leads to a pod. */
export interface PortMapping {
  /** Transport protocol. @defaultValue 'TCP' */
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP'
  /** Port in the pod, 1–65535. */
  readonly containerPort: number
  /** Port of the node, 1–65535. */
  readonly hostPort: number
  /** Address of the node that it is limited to. @defaultValue all of them */
  readonly hostIp?: string
}

/** A pod as kubelet describes it to a runtime. */
export interface PodSpec {
  /** Name of the pod. */
  readonly name: string
  /** UID of the pod. */
  readonly uid: string
  /** Kubernetes namespace. @defaultValue 'default' */
  readonly namespace?: string
  /** How many sandboxes this pod has had before. @defaultValue 0 */
  readonly attempt?: number
  /** Host name inside. @defaultValue the pod's name */
  readonly hostname?: string
  /** Name resolution inside; kubelet always gives it. */
  readonly dns: { readonly servers: readonly string[]; readonly searches: readonly string[]; readonly options: readonly string[] }
  /** Ports of the node. @defaultValue none */
  readonly portMappings?: readonly PortMapping[]
  /** Annotations. @defaultValue none */
  readonly annotations?: Readonly<Record<string, string>>
  /** Whether it has the node's network instead of an own one. @defaultValue false */
  readonly hostNetwork?: boolean
}

/** A container of a pod. */
export interface ContainerSpec {
  /** Name of the container. */
  readonly name: string
  /** Image that the runtime has. */
  readonly image: string
  /** What runs. */
  readonly command: readonly string[]
}

/** A sandbox as the runtime tells it. */
export interface SandboxStatus {
  /** Whether its sandbox container runs and its network stands. */
  readonly ready: boolean
  /** Its addresses, the one that counts as the pod's first. */
  readonly ips: readonly string[]
  /** Process of the sandbox container, 0 if it has ended. */
  readonly pid: number
  /** Path of its network namespace, empty if it has none of its own. */
  readonly netns: string
}

/** What a command in a container left. */
export interface ExecSyncResult {
  /** Exit code. */
  readonly code: number
  /** Standard output. */
  readonly stdout: string
  /** Standard error. */
  readonly stderr: string
}

/** A condition of the runtime, such as `NetworkReady`. */
export interface RuntimeCondition {
  /** Which one. */
  readonly type: string
  /** Whether it holds. */
  readonly status: boolean
  /** Why not, in one word. */
  readonly reason: string
  /** Why not, for people. */
  readonly message: string
}

// What comes from the runtime, parsed at the border. The loader has put defaults where a field is missing.
const text = z.string()
/** Reply to RunPodSandbox. */
export const runReply: z.ZodType<{ podSandboxId: string }> = z.object({ podSandboxId: text.min(1) })
/** Reply to CreateContainer. */
export const containerReply: z.ZodType<{ containerId: string }> = z.object({ containerId: text.min(1) })
/** Reply to Version. */
export const versionReply: z.ZodType<{ runtimeName: string; runtimeVersion: string }> = z.object({
  runtimeName: text,
  runtimeVersion: text,
})
/** Reply to Status. */
export const statusReply: z.ZodType<{ status: { conditions: RuntimeCondition[] } }> = z.object({
  status: z.object({ conditions: z.array(z.object({ type: text, status: z.boolean(), reason: text, message: text })) }),
})
/** Reply to ListPodSandbox. */
export const listReply: z.ZodType<{ items: { id: string; metadata: { name: string; uid: string } }[] }> = z.object({
  items: z.array(z.object({ id: text, metadata: z.object({ name: text, uid: text }) })),
})
/** Reply to ExecSync. */
export const execReply: z.ZodType<{ stdout: Buffer; stderr: Buffer; exitCode: number }> = z.object({
  stdout: z.instanceof(Buffer),
  stderr: z.instanceof(Buffer),
  exitCode: z.number(),
})
/** Reply to PodSandboxStatus. */
export const sandboxReply: z.ZodType<{
  status: { state: string; network: { ip: string; additionalIps: { ip: string }[] } | null }
  info: Record<string, string>
}> = z.object({
  status: z.object({
    state: text,
    network: z.object({ ip: text, additionalIps: z.array(z.object({ ip: text })) }).nullable(),
  }),
  info: z.record(text, text),
})
/** containerd's own part of a verbose sandbox status. */
export const sandboxInfo: z.ZodType<{
  pid: number
  runtimeSpec: { linux: { namespaces: { type: string; path?: string | undefined }[] } } | null
}> = z.object({
  pid: z.number(),
  runtimeSpec: z.object({ linux: z.object({ namespaces: z.array(z.object({ type: text, path: text.optional() })) }) }).nullable(),
})
