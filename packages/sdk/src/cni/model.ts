import type { Dns, Route } from '../domain/network.ts'

/** Versions of the specification that are supported, oldest first. */
export const CNI_VERSIONS: readonly CniVersion[] = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']

/** A supported version of the specification. */
export type CniVersion = '0.1.0' | '0.2.0' | '0.3.0' | '0.3.1' | '0.4.0' | '1.0.0' | '1.1.0'

/** Verbs of the specification. */
export type CniVerb = 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS' | 'VERSION'

/** CNI_* variables of a call, validated for its verb. Fields that the verb does not need may be empty. */
export interface CniEnvironment {
  /** CNI_COMMAND. */
  readonly verb: CniVerb
  /** CNI_CONTAINERID. */
  readonly containerId: string
  /** CNI_NETNS exactly as given; empty on a DEL whose namespace is gone. */
  readonly netns: string
  /** CNI_IFNAME. */
  readonly ifName: string
  /** CNI_ARGS, parsed. */
  readonly args: Readonly<Record<string, string>>
  /** CNI_PATH, split at ":". */
  readonly path: readonly string[]
}

/** A network configuration, parsed. Fields that we do not know are kept in `raw`. */
export interface Netconf {
  /** Version that results must have. */
  readonly cniVersion: CniVersion
  /** Network name. */
  readonly name: string
  /** Plugin type, ours. */
  readonly type: string
  /** Capability arguments of the runtime, those that `capabilities` of the configuration declares. */
  readonly runtimeConfig: Readonly<Record<string, unknown>>
  /** Names of capability arguments that are there although the configuration does not declare them; they do not count. */
  readonly undeclared: readonly string[]
  /** Result of the previous plugin (ADD) or of the whole list (CHECK, DEL), in the netconf's version. */
  readonly prevResult?: CniResult
  /** Id of the VF that a device plugin allocated: its PCI address, or `device/index` where it has none. */
  readonly deviceId?: string
  /** `cni.dev/valid-attachments` of a GC; absent when the caller gave no list. */
  readonly validAttachments?: readonly { readonly containerId: string; readonly ifName: string }[]
  /** Everything as decoded. */
  readonly raw: Readonly<Record<string, unknown>>
}

/** One interface of a result. */
export interface CniInterface {
  /** Name. */
  readonly name: string
  /** MAC address. */
  readonly mac?: string
  /** MTU in bytes. */
  readonly mtu?: number
  /** Namespace path as the runtime gave it; absent for interfaces on the host. */
  readonly sandbox?: string
  /** Absolute path of a socket (vhost-user). */
  readonly socketPath?: string
  /** PCI address. */
  readonly pciId?: string
}

/** One address of a result. */
export interface CniIp {
  /** Address with prefix length. */
  readonly address: string
  /** Gateway. */
  readonly gateway?: string
  /** Index into `interfaces`. */
  readonly interface?: number
}

/** An ADD result in the newest shape, whatever version it came in or goes out as. */
export interface CniResult {
  /** Interfaces created. */
  readonly interfaces: readonly CniInterface[]
  /** Addresses. */
  readonly ips: readonly CniIp[]
  /** Routes. */
  readonly routes: readonly Route[]
  /** Resolver settings. */
  readonly dns: Dns
}
