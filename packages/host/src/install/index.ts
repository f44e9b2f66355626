/**
 * The installer: puts the CNI executable and the network configuration where a container runtime looks for them, and takes
 * them away again. It touches nothing that it has not put there.
 *
 * @packageDocumentation
 */
export { renderConflist } from './conflist.ts'
export { inspectInstallation, type InstalledState } from './inspect.ts'
export { install, type InstalledFile, type InstallReport } from './install.ts'
export {
  DEFAULT_BIN_DIR,
  DEFAULT_CAPABILITIES,
  DEFAULT_CNI_VERSION,
  DEFAULT_CONF_DIR,
  DEFAULT_CONFLIST_NAME,
  DEFAULT_INSTALL_STATE_DIR,
  type ChainedPlugin,
  type InstallOptions,
} from './options.ts'
export { uninstall, type UninstalledFile, type UninstallReport } from './uninstall.ts'
