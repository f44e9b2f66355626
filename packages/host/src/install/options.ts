import { cniName, parseWith } from '@cni-offload/sdk'
import { CNI_VERSIONS, type CniVersion, isAtLeast } from '@cni-offload/sdk/cni'
import { z } from 'zod'

/** Where container runtimes look for CNI executables. */
export const DEFAULT_BIN_DIR: string = '/opt/cni/bin'

/** Where container runtimes look for network configurations. */
export const DEFAULT_CONF_DIR: string = '/etc/cni/net.d'

/** Runtimes take the configuration whose name sorts first; the usual network add-ons begin with 05 or 10 and a later letter. */
export const DEFAULT_CONFLIST_NAME: string = '05-cni-offload.conflist'

/** Where the installer remembers what it has done. */
export const DEFAULT_INSTALL_STATE_DIR: string = '/var/lib/cni-offload/install'

/** The newest version that containerd 1.6 and 1.7 accept. */
export const DEFAULT_CNI_VERSION: CniVersion = '1.0.0'

/**
 * What a pod can ask for and must either get or be refused: a runtime leaves out, without a word, what a configuration does
 * not declare.
 */
export const DEFAULT_CAPABILITIES: readonly string[] = ['portMappings', 'bandwidth']

/** A plugin that runs after ours, as it stands in the list. */
export type ChainedPlugin = { readonly type: string } & Readonly<Record<string, unknown>>

/** What is installed, and where. */
export interface InstallOptions {
  /** The CNI executable to install: the file is copied. */
  readonly shim: string
  /** Name of the network; the agent must have an adapter for it. */
  readonly network: string
  /** Folder for the executable, made if missing. @defaultValue `/opt/cni/bin` */
  readonly binDir?: string
  /** Folder for the network configuration, made if missing. @defaultValue `/etc/cni/net.d` */
  readonly confDir?: string
  /** File name of the network configuration, ending in `.conflist`. @defaultValue `05-cni-offload.conflist` */
  readonly fileName?: string
  /** Folder for what has to be remembered until {@link uninstall}. @defaultValue `/var/lib/cni-offload/install` */
  readonly stateDir?: string
  /** Version of the specification that the runtime is to speak. @defaultValue '1.0.0' */
  readonly cniVersion?: CniVersion
  /** Capabilities that our plugin declares. @defaultValue portMappings and bandwidth */
  readonly capabilities?: readonly string[]
  /** Plugins that run after ours. @defaultValue none */
  readonly chain?: readonly ChainedPlugin[]
  /** Whether a file of somebody else under one of our names is kept aside until {@link uninstall}. @defaultValue false: refused */
  readonly replace?: boolean
}

/** {@link InstallOptions} with all defaults. */
export type ResolvedInstallOptions = Required<InstallOptions>

// A name that starts with "." is what the installer's own temporary files have, and runtimes skip.
const fileName = z.string().regex(/^[^./\s][^/\s]*\.conflist$/, 'a file name that ends in .conflist, without "/" and white space')
const absolute = z.string().startsWith('/', 'an absolute path is expected')

const schema: z.ZodType<ResolvedInstallOptions, unknown> = z.object({
  shim: z.string().min(1),
  network: cniName,
  binDir: absolute.default(DEFAULT_BIN_DIR),
  confDir: absolute.default(DEFAULT_CONF_DIR),
  fileName: fileName.default(DEFAULT_CONFLIST_NAME),
  stateDir: absolute.default(DEFAULT_INSTALL_STATE_DIR),
  cniVersion: z
    .enum(CNI_VERSIONS)
    .refine((version) => isAtLeast(version, '0.3.0'), 'lists of plugins came with 0.3.0')
    .default(DEFAULT_CNI_VERSION),
  capabilities: z.array(z.string().min(1)).default([...DEFAULT_CAPABILITIES]),
  chain: z.array(z.looseObject({ type: z.string().regex(/^[^/\s]+$/, 'the name of a plugin, without "/" and white space') })).default([]),
  replace: z.boolean().default(false),
})

/** Checks options and fills in what is not given. @throws OffloadError INVALID_CONFIG naming field, value and what is expected */
export function resolveOptions(options: InstallOptions): ResolvedInstallOptions {
  return parseWith(schema, options, 'install', 'INVALID_CONFIG')
}
