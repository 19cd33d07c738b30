/**
 * Where the operator's forwarded port reaches a virtual local machine from, as the machine sees it: the gateway of its own
 * small network. A container sees its own loopback instead.
 */
export const VIRTUAL_GATEWAY = "10.77.1.1";
